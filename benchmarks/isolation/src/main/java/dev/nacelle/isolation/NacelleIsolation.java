// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.ExecResult;
import dev.nacelle.GuestProcess;
import dev.nacelle.HostCheck;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.OnLimit;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.StandardStream;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.image.ImageRef;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A machine for each instance, by Nacelle: by its own hypervisor, all in this process, or by one
 * that a subclass gives its {@link #builder}.
 */
public class NacelleIsolation implements Isolation {
  private static final WriteOptions EXECUTABLE = WriteOptions.builder().permissions(0755).build();

  /** What a sandbox sees the first service of its host at: 198.18.1.1. */
  private static final String SERVICE = "198.18.1.1";

  private final String name;
  private final String label;
  private final String kernel;
  private final MemoryPolicy policy;
  private final Setting setting;
  private @Nullable Nacelle nacelle;

  /**
   * One that calls itself so.
   *
   * @param kernel as {@link SandboxSpec.Builder#kernel(String)} takes it
   * @param policy of the guests' memory
   */
  NacelleIsolation(String name, String label, String kernel, MemoryPolicy policy, Setting setting) {
    this.name = name;
    this.label = label;
    this.kernel = kernel;
    this.policy = policy;
    this.setting = setting;
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String label() {
    return label;
  }

  @Override
  public String version() {
    String version = Nacelle.class.getPackage().getImplementationVersion();
    return "Nacelle "
        + (version == null ? "of this tree" : version)
        + ", "
        + kernel
        + ", "
        + policy;
  }

  /** What starts its machines; asked for with the first of them, and when all is prepared. */
  protected Nacelle.Builder builder() {
    return Nacelle.builder().cacheDirectory(setting.cache());
  }

  @Override
  public Optional<String> unavailable() {
    List<HostCheck> checks = Nacelle.checkHost();
    if (checks.stream().anyMatch(HostCheck::usable)) {
      return Optional.empty();
    }
    String why =
        checks.stream()
            .flatMap(check -> check.failure(HostCheck.Ability.LINUX_KERNELS).stream())
            .map(HostCheck.Finding::detail)
            .collect(Collectors.joining("; "));
    return Optional.of("this machine cannot boot kernels: " + why);
  }

  /** Fetches the image and the kernel, and makes of them what a start needs. */
  @Override
  public void prepare(ImageRef image) throws IOException {
    try {
      builder().prepare(SandboxSpec.builder().image(image).kernel(kernel).build());
    } catch (NacelleException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private synchronized Nacelle nacelle() {
    if (nacelle == null) {
      nacelle = builder().build();
    }
    return nacelle;
  }

  /** Whether a machine ends when its guest powers it off. */
  boolean powersOff() {
    return true;
  }

  private SandboxSpec spec(Workload workload) {
    SandboxSpec.Builder spec =
        SandboxSpec.builder()
            .image(workload.image())
            .kernel(kernel)
            .memoryPolicy(policy)
            .memory(workload.memory())
            .cpus(workload.cpus())
            .environment(workload.environment())
            .user(workload.user())
            .workingDirectory(workload.workingDirectory())
            .startTimeout(setting.patience());
    if (!powersOff()) {
      // Nothing that is waited for would come of asking the guest.
      spec.stopGrace(Duration.ZERO);
    }
    workload.service().ifPresent(address -> network(spec, address));
    return spec.build();
  }

  /** Has machines reach a server of the host's. */
  void network(SandboxSpec.Builder spec, InetSocketAddress server) {
    spec.network(NetworkPolicy.builder().hostService("benchmark", server).build());
  }

  /** What commands reach that server at. */
  String serviceHost() {
    return SERVICE;
  }

  /** Does what is left to do in a machine that has started. */
  void furnish(Sandbox sandbox) {}

  @Override
  public Instance start(Workload workload) throws IOException {
    try {
      Sandbox sandbox = nacelle().start(spec(workload));
      try {
        furnish(sandbox);
      } catch (RuntimeException e) {
        try (sandbox) {
          throw e;
        }
      }
      return new Machine(workload, sandbox);
    } catch (NacelleException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  @Override
  public synchronized void close() {
    if (nacelle != null) {
      nacelle.close();
    }
  }

  static void put(Sandbox sandbox, Path program, String path) {
    sandbox.files().write(path, program, EXECUTABLE);
  }

  /** What {@link Instance#processes} tells of a machine: it is part of this process. */
  Set<Long> processes(Sandbox sandbox) {
    return Set.of();
  }

  private final class Machine implements Instance {
    private final Workload workload;
    private final Sandbox sandbox;

    private Machine(Workload workload, Sandbox sandbox) {
      this.workload = workload;
      this.sandbox = sandbox;
    }

    @Override
    public Running start(List<String> command) throws IOException {
      try {
        // With nobody to read it, a program that writes much to it would stop.
        ProcessSpec spec = ProcessSpec.builder(command).discard(StandardStream.STDERR).build();
        return new InMachine(sandbox.start(spec));
      } catch (NacelleException e) {
        throw new IOException(e.getMessage(), e);
      }
    }

    @Override
    public Output run(List<String> command) throws IOException {
      try {
        ExecResult result =
            sandbox.exec(
                ProcessSpec.builder(command)
                    .timeout(setting.patience())
                    .outputLimit(ProcessSpec.DEFAULT_OUTPUT_LIMIT, OnLimit.KILL)
                    .build());
        if (result.status().timedOut()) {
          throw new IOException(
              String.join(" ", command)
                  + ": not ended within "
                  + setting.patience().toSeconds()
                  + " s");
        }
        if (result.status().outputTruncated()) {
          throw new IOException(
              String.join(" ", command) + ": it writes more than 16 MiB, which nobody reads here");
        }
        return new Output(
            result.exitCode(), result.stdout().bytes(), result.stderr().text().strip());
      } catch (NacelleException e) {
        throw new IOException(e.getMessage(), e);
      }
    }

    @Override
    public Duration patience() {
      return setting.patience();
    }

    @Override
    public void put(Path program, String path) throws IOException {
      try {
        NacelleIsolation.put(sandbox, program, path);
      } catch (NacelleException e) {
        throw new IOException(e.getMessage(), e);
      }
    }

    @Override
    public Set<Long> processes() {
      return NacelleIsolation.this.processes(sandbox);
    }

    @Override
    public Optional<String> service() {
      return workload.service().map(address -> serviceHost() + ":" + address.getPort());
    }

    @Override
    public void close() {
      sandbox.close();
    }
  }

  private record InMachine(GuestProcess process) implements Running {
    @Override
    public InputStream stdout() {
      return process.stdout();
    }

    @Override
    public int waitFor() throws IOException {
      try {
        return process.waitFor().exitCode();
      } catch (NacelleException e) {
        throw new IOException(e.getMessage(), e);
      }
    }

    @Override
    public String stderr() {
      return "";
    }

    @Override
    public void kill() {
      process.close();
    }

    @Override
    public void close() {
      process.close();
    }
  }
}
