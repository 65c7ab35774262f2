// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A plain container, by a runtime of the OCI specification that is called as containers' managers
 * call it: namespaces, capabilities, system calls and memory as Docker limits them, on the host's
 * kernel. There is no monitor beside it, such as containerd's shim. Needs root.
 */
final class OciContainer implements Isolation {
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * In the names of containers, and so of their control groups, which all of the host's have in
   * common: in a namespace of its own a process's ID is not enough. The script "session" looks for
   * them by it.
   */
  private static final String SESSION =
      System.getProperty(
          "nacelle.isolation.session", String.valueOf(ProcessHandle.current().pid()));

  private final String name;
  private final List<String> program;
  private final Path work;
  private final Path state;
  private final Path probe;
  private final Duration patience;
  private final AtomicInteger count = new AtomicInteger();

  /**
   * @param name of the program
   * @param options that it always gets
   * @param probe the program that an idle container runs
   */
  OciContainer(String name, List<String> options, Setting setting, Path probe) {
    this.name = name;
    this.work = setting.work();
    this.probe = probe;
    patience = setting.patience();
    state = work.resolve(name + "-state");
    program = new ArrayList<>();
    program.add(
        setting.programs().containsKey(name) ? setting.programs().get(name).toString() : name);
    program.addAll(options);
    program.addAll(List.of("--root", state.toString()));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String label() {
    return "container (" + name + ")";
  }

  @Override
  public String version() {
    try {
      String text = HostProcess.run(List.of(program.get(0), "--version")).text();
      return text.lines().findFirst().orElse(name).replace(" version", "");
    } catch (IOException e) {
      return name;
    }
  }

  @Override
  public boolean hasPartInThisProcess() {
    return false;
  }

  @Override
  public Optional<String> unavailable() {
    if (!Host.isRoot()) {
      return Optional.of(Host.NEEDS_ROOT);
    }
    boolean found =
        program.get(0).contains("/")
            ? Files.isExecutable(Path.of(program.get(0)))
            : Host.program(program.get(0)).isPresent();
    return found
        ? Optional.empty()
        : Optional.of("there is no " + program.get(0) + " here: apt-get install " + name);
  }

  private List<String> command(String... arguments) {
    List<String> command = new ArrayList<>(program);
    command.addAll(List.of(arguments));
    return command;
  }

  /** A root filesystem and what is to run in it, ready for the runtime. */
  private final class Bundle implements AutoCloseable {
    private final String id;
    private final Path directory;
    private final InstanceRoot root;

    private Bundle(Workload workload, List<String> command) throws IOException {
      id = name + "-nacelle-" + SESSION + "-" + count.incrementAndGet();
      directory = work.resolve(id);
      User user = User.of(workload.user(), workload.root());
      root = new InstanceRoot(workload.root(), directory);
      try {
        Files.write(
            directory.resolve("config.json"),
            OciConfig.of(workload, user, root.path(), command, probe));
      } catch (IOException e) {
        try (root) {
          throw e;
        }
      }
    }

    /** Ends the container and all that is in it; also where there is none. */
    private void delete() throws IOException {
      HostProcess.run(command("delete", "--force", id));
    }

    @Override
    public void close() throws IOException {
      root.close();
    }
  }

  @Override
  public Instance start(Workload workload) throws IOException {
    Bundle bundle = new Bundle(workload, List.of(OciConfig.IDLE, "idle"));
    try {
      // Its outputs would be the container's, and never end.
      Path log = bundle.directory.resolve("log");
      Process process =
          new ProcessBuilder(
                  command("run", "--detach", "--bundle", bundle.directory.toString(), bundle.id))
              .redirectInput(new java.io.File("/dev/null"))
              .redirectOutput(log.toFile())
              .redirectErrorStream(true)
              .start();
      try {
        if (!process.waitFor(patience.toNanos(), TimeUnit.NANOSECONDS)) {
          throw new IOException(name + " run: not ended within " + patience.toSeconds() + " s");
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new java.io.InterruptedIOException("interrupted");
      } finally {
        process.destroyForcibly();
      }
      int code = process.exitValue();
      if (code != 0) {
        throw new IOException(name + " run: exit code " + code + ": " + Files.readString(log));
      }
    } catch (IOException e) {
      try (bundle) {
        bundle.delete(); // it may have come half the way
      } catch (IOException left) {
        e.addSuppressed(left);
      }
      throw e;
    }
    return new Container(workload, bundle);
  }

  /** The container's first process is the command, and the runtime waits for it and removes it. */
  @Override
  public Running launch(Workload workload, List<String> command) throws IOException {
    Bundle bundle = new Bundle(workload, command);
    try {
      HostProcess process =
          HostProcess.start(command("run", "--bundle", bundle.directory.toString(), bundle.id));
      return new Launched(process, bundle);
    } catch (IOException e) {
      try (bundle) {
        throw e;
      }
    }
  }

  private final class Launched implements Running {
    private final HostProcess process;
    private final Bundle bundle;
    private volatile boolean isKilled;

    private Launched(HostProcess process, Bundle bundle) {
      this.process = process;
      this.bundle = bundle;
    }

    @Override
    public InputStream stdout() {
      return process.stdout();
    }

    @Override
    public int waitFor() throws IOException {
      return process.waitFor();
    }

    @Override
    public String stderr() {
      return process.stderr();
    }

    @Override
    public void kill() throws IOException {
      isKilled = true;
      process.kill();
      bundle.delete();
    }

    @Override
    public void close() throws IOException {
      try (bundle) {
        if (process.isAlive() || isKilled) {
          bundle.delete();
        }
        process.close();
      }
    }
  }

  private final class Container implements Instance {
    private final Workload workload;
    private final Bundle bundle;

    private Container(Workload workload, Bundle bundle) {
      this.workload = workload;
      this.bundle = bundle;
    }

    @Override
    public Running start(List<String> command) throws IOException {
      List<String> whole = command("exec", bundle.id);
      whole.addAll(command);
      return HostProcess.start(whole, null, bundle::delete);
    }

    @Override
    public Duration patience() {
      return patience;
    }

    @Override
    public void put(Path program, String path) throws IOException {
      bundle.root.put(program, path);
    }

    @Override
    public boolean hasIdleProcess() {
      return true;
    }

    @Override
    public Set<Long> processes() throws IOException {
      Set<Long> processes = new HashSet<>();
      Output pids = HostProcess.run(command("ps", "--format", "json", bundle.id));
      for (JsonNode pid : JSON.readTree(pids.stdout())) {
        processes.add(pid.longValue());
      }
      return processes;
    }

    @Override
    public Optional<String> service() {
      return workload.service().map(Host::text);
    }

    @Override
    public void close() throws IOException {
      try (bundle) {
        bundle.delete();
      }
    }
  }
}
