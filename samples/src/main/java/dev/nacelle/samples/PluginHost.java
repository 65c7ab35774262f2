// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.OnLimit;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxSpec;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;

/**
 * Runs plug-ins, Python programs of people whom nobody trusts, in a sandbox for each tenant. It is
 * started with the tenant's first call or before, and stays for the next; so what a plug-in writes
 * to files, later calls of its tenant find, and those of no other. One that was idle for long ends,
 * and another takes its place with the next call. Safe for use from several threads.
 */
public final class PluginHost implements AutoCloseable {
  private final Nacelle nacelle;
  private final SandboxSpec spec;
  private final Duration timeLimit;
  private final Map<String, Tenant> tenants = new ConcurrentHashMap<>();

  /**
   * @param nacelle is closed with this, and so are the sandboxes of all tenants
   * @param spec of each tenant's sandbox, but for the name; {@link SandboxSpec#idleTimeout} is how
   *     long one stays that nobody calls
   * @param timeLimit how long a call may take
   */
  public PluginHost(Nacelle nacelle, SandboxSpec spec, Duration timeLimit) {
    this.nacelle = nacelle;
    this.spec = spec;
    this.timeLimit = timeLimit;
  }

  static SandboxSpec sandbox(String image) {
    return SandboxSpec.builder()
        .image(image)
        .memory(DataSize.mebibytes(256))
        .pidsLimit(64)
        .dataDisk("/notes", DataDisk.empty(DataSize.mebibytes(64))) // gone with the sandbox
        .startTimeout(Duration.ofMinutes(5))
        .idleTimeout(Duration.ofMinutes(10))
        .build();
  }

  /** Starts a tenant's sandbox where none runs, and waits for it. */
  public void warmUp(String tenant) {
    tenant(tenant).sandbox();
  }

  /**
   * Has a plug-in answer a request. When the sandbox ends meanwhile, another takes its place, and
   * the plug-in runs again; once, since it may be the plug-in that ends it.
   *
   * @param tenant 1 to 64 characters of {@code [A-Za-z0-9._-]}
   * @param plugin a program, which reads the request from stdin and writes the answer to stdout
   * @throws dev.nacelle.ProcessException when it fails, takes too long, or says too much
   * @throws dev.nacelle.NacelleException when no sandbox can be had
   */
  public String call(String tenant, String plugin, String request) {
    ProcessSpec process =
        ProcessSpec.builder("python3", "-c", plugin)
            .stdin(request)
            .timeout(timeLimit)
            .outputLimit(DataSize.mebibytes(1), OnLimit.KILL)
            .build();
    Supplier<ExecResult> call = () -> tenant(tenant).sandbox().exec(process);
    ExecResult result;
    try {
      result = call.get();
    } catch (SandboxEndedException e) {
      result = call.get();
    }
    return result.orThrow().stdout().text();
  }

  private Tenant tenant(String name) {
    return tenants.computeIfAbsent(name, Tenant::new);
  }

  @Override
  public void close() {
    nacelle.close();
  }

  /** A tenant, and its sandbox once it has one. */
  private final class Tenant {
    private final SandboxSpec its;
    private Optional<Sandbox> sandbox = Optional.empty();

    private Tenant(String name) {
      its = spec.toBuilder().name(name).build();
    }

    /** The one that runs. Calls that come while it starts wait for it, those of others do not. */
    private synchronized Sandbox sandbox() {
      if (sandbox.filter(Sandbox::isAlive).isEmpty()) {
        sandbox = Optional.of(nacelle.start(its));
      }
      return sandbox.orElseThrow();
    }
  }

  /**
   * Two tenants with the same plug-in, which keeps notes.
   *
   * @param args an image with Python
   */
  public static void main(String... args) {
    String notes =
        """
        import sys
        with open("/notes/all", "a+") as file:
            file.write(sys.stdin.read() + " ")
            file.seek(0)
            print(file.read())
        """;
    try (PluginHost host =
        new PluginHost(Nacelle.create(), sandbox(args[0]), Duration.ofMinutes(1))) {
      for (String tenant : List.of("ada", "bob")) {
        long started = System.nanoTime();
        host.warmUp(tenant);
        System.out.printf("%s: started in %d ms%n", tenant, millisSince(started));
      }
      for (String[] call : new String[][] {{"ada", "milk"}, {"bob", "nails"}, {"ada", "eggs"}}) {
        long started = System.nanoTime();
        String answer = host.call(call[0], notes, call[1]).strip();
        System.out.printf("%s: notes are: %s (%d ms)%n", call[0], answer, millisSince(started));
      }
    }
  }

  private static long millisSince(long nanos) {
    return (System.nanoTime() - nanos) / 1_000_000;
  }
}
