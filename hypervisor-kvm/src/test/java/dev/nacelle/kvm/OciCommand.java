// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.DataSize;
import dev.nacelle.FileException;
import dev.nacelle.GuestFiles;
import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.files.FileInfo;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.oci.OciBundle;
import dev.nacelle.oci.OciRuntime;
import dev.nacelle.oci.OciState;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/**
 * create, start, state, kill and delete, as the command lines of container runtimes have them, for
 * the validation programs of opencontainers/runtime-tools (.ci/oci-validation). A Java runtime for
 * each call would take the lab half a minute, so this one serves them all; the command is the
 * script client there. Where OCI_AGENT of the environment names the agent that is tested on this
 * kernel, containers are {@link AgentHypervisor}'s, and have no machine.
 *
 * <p>A container's root is a copy of the bundle's, while the programs look for what it wrote there.
 * So new files at the top of it are copied back once it has stopped.
 */
final class OciCommand {
  private final OciRuntime runtime;
  private final Nacelle nacelle;

  /** Where the outputs of containers go that are to be started, and their bundles. */
  private final Map<String, Created> created = new ConcurrentHashMap<>();

  private record Created(
      @Nullable Path stdout, @Nullable Path stderr, Path root, List<Thread> copiers) {}

  private OciCommand(Nacelle nacelle) {
    this.nacelle = nacelle;
    runtime = OciRuntime.withHostHooks(nacelle);
  }

  /**
   * Serves until it is ended. A request is a line: a FIFO for the answer, the caller's directory,
   * stdout and stderr, and the arguments, with the character 1 between them. An answer is the exit
   * code in a line of its own, and what is to be printed.
   *
   * @param arguments the FIFO of requests; or none, which only makes what the lab would be slow to
   *     make
   */
  public static void main(String... arguments) throws IOException {
    EngineBuilder builder = new EngineBuilder().cacheDirectory(TestKernels.CACHE);
    String agent = System.getenv("OCI_AGENT");
    if (agent != null) {
      builder.hypervisor(new AgentHypervisor(Path.of(agent)));
    }
    if (arguments.length == 0) {
      Path root = Files.createTempDirectory("nacelle-oci-");
      builder.prepare(adapt(SandboxSpec.builder().image(ImageRef.directory(root))).build());
      Files.delete(root);
      return;
    }
    Path requests = Path.of(arguments[0]);
    try (Nacelle nacelle = builder.build()) {
      OciCommand command = new OciCommand(nacelle);
      System.out.println("serving");
      while (Files.exists(requests)) {
        for (String line : Files.readAllLines(requests)) {
          new Thread(() -> command.answer(line.split("\1", -1))).start();
        }
      }
    }
  }

  private void answer(String... request) {
    int code = 0;
    String text;
    long begun = System.nanoTime();
    try {
      text = run(request);
    } catch (IOException | RuntimeException e) {
      code = 1;
      text = e + "\n";
    }
    String what = String.join(" ", Arrays.asList(request).subList(4, request.length));
    Duration taken = Duration.ofNanos(System.nanoTime() - begun);
    System.out.println(what + ": " + taken.toMillis() + " ms, exit code " + code);
    try {
      Files.writeString(Path.of(request[0]), code + "\n" + text);
    } catch (IOException e) {
      e.printStackTrace();
    }
  }

  private String run(String... request) throws IOException {
    Deque<String> arguments = new ArrayDeque<>(Arrays.asList(request).subList(4, request.length));
    String operation = arguments.pop();
    Path bundle = Path.of(request[1]);
    Optional<Path> pidFile = Optional.empty();
    List<String> given = new ArrayList<>();
    while (!arguments.isEmpty()) {
      String argument = arguments.pop();
      switch (argument) {
        case "--bundle" -> bundle = Path.of(request[1]).resolve(arguments.pop());
        case "--pid-file" -> pidFile = Optional.of(Path.of(request[1]).resolve(arguments.pop()));
        default -> given.add(argument);
      }
    }
    if (given.isEmpty() || given.get(0).isEmpty()) {
      throw new IllegalArgumentException("there is no id");
    }
    String id = given.get(0);
    switch (operation) {
      case "create" -> create(id, bundle, pidFile, output(request[2]), output(request[3]));
      case "start" -> start(id);
      case "state" -> {
        OciState state = runtime.state(id);
        if (state.status() == OciState.Status.STOPPED) {
          copyBack(id);
        }
        return state.toJson() + "\n";
      }
      case "kill" -> runtime.kill(id, Signal.parse(given.get(1)));
      case "delete" -> {
        if (runtime.state(id).status() == OciState.Status.STOPPED) {
          copyBack(id);
        }
        runtime.delete(id);
        created.remove(id);
      }
      default -> throw new IllegalArgumentException("there is no operation " + operation);
    }
    return "";
  }

  private static @Nullable Path output(String file) {
    return Files.isRegularFile(Path.of(file)) ? Path.of(file) : null;
  }

  private void create(
      String id,
      Path directory,
      Optional<Path> pidFile,
      @Nullable Path stdout,
      @Nullable Path stderr)
      throws IOException {
    OciBundle bundle = OciBundle.read(directory);
    OciState state = runtime.create(id, bundle, OciCommand::adapt);
    Path root = Path.of(bundle.sandbox().build().image().toString().substring("dir:".length()));
    created.put(id, new Created(stdout, stderr, root, new CopyOnWriteArrayList<>()));
    sandbox(id).ifPresent(sandbox -> System.out.println(sandbox.timeline()));
    if (pidFile.isPresent()) {
      Files.writeString(pidFile.get(), Long.toString(state.pid().orElseThrow()));
    }
  }

  private static SandboxSpec.Builder adapt(SandboxSpec.Builder spec) {
    return spec.kernel(KernelRef.parse("nacelle:6.12"))
        .memory(DataSize.mebibytes(160))
        .startTimeout(Duration.ofMinutes(5));
  }

  private void start(String id) {
    GuestProcess process = runtime.start(id);
    Created outputs = Objects.requireNonNull(created.get(id));
    outputs.copiers.add(copy(process.stdout(), outputs.stdout));
    outputs.copiers.add(copy(process.stderr(), outputs.stderr));
  }

  private static Thread copy(InputStream from, @Nullable Path to) {
    Thread copier =
        new Thread(
            () -> {
              try (OutputStream out =
                  to == null
                      ? OutputStream.nullOutputStream()
                      : Files.newOutputStream(to, StandardOpenOption.APPEND)) {
                from.transferTo(out);
              } catch (IOException e) {
                e.printStackTrace();
              }
            });
    copier.start();
    return copier;
  }

  private Optional<Sandbox> sandbox(String id) {
    return nacelle.sandboxes().stream().filter(one -> one.info().name().equals(id)).findAny();
  }

  private void copyBack(String id) throws IOException {
    Optional<Sandbox> sandbox = sandbox(id);
    Created made = created.get(id);
    if (sandbox.isEmpty() || made == null) {
      return;
    }
    for (Thread copier : made.copiers) {
      try {
        copier.join(Duration.ofMinutes(1).toMillis());
      } catch (InterruptedException e) {
        throw new InterruptedIOException();
      }
    }
    GuestFiles files = sandbox.get().files();
    try {
      for (FileInfo file : files.list("/")) {
        Path copy = made.root.resolve(file.name());
        if (file.isRegularFile() && !Files.exists(copy)) {
          files.read("/" + file.name(), copy);
        }
      }
    } catch (FileException e) {
      System.err.println("nothing of " + id + " is copied back: " + e.getMessage());
    }
  }
}
