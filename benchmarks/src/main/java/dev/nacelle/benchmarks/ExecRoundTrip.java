// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * Times {@code exec("true")} from the host, and the same program started in a loop by a program of
 * the same guest: the difference is what the way from the host and back costs. Needs a KVM that
 * boots kernels.
 */
public final class ExecRoundTrip {
  private static final String PROGRAM = "/usr/bin/true";

  /** Prints nanoseconds, one a line: first of posix_spawn, then of fork and exec. */
  private static final String LOOP =
      """
      import os, sys, time
      program, rounds = sys.argv[1], int(sys.argv[2])
      def spawn():
        return os.posix_spawn(program, [program], os.environ)
      def fork():
        pid = os.fork()
        if pid == 0:
          os.execv(program, [program])
        return pid
      for start in spawn, fork:
        for i in range(-rounds, rounds):
          began = time.monotonic_ns()
          os.waitpid(start(), 0)
          nanos = time.monotonic_ns() - began
          if i >= 0: print(nanos)
      """;

  private ExecRoundTrip() {}

  /**
   * @param arguments the cache's directory, the kernel's and the image's reference (with Python),
   *     and how many of each count, after as many that do not
   */
  public static void main(String... arguments) {
    int rounds = Integer.parseInt(arguments[3]);
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(arguments[2])
            .kernel(arguments[1])
            .memory(DataSize.mebibytes(256))
            .startTimeout(Duration.ofMinutes(10))
            .build();
    Samples exec = new Samples();
    Samples spawn = new Samples();
    Samples fork = new Samples();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(Path.of(arguments[0])).build();
        Sandbox sandbox = nacelle.start(spec)) {
      for (int round = -rounds; round < rounds; round++) {
        long called = System.nanoTime();
        ExecResult result = sandbox.exec(PROGRAM);
        long nanos = System.nanoTime() - called;
        require(result);
        if (round >= 0) {
          exec.add(nanos);
        }
      }
      ExecResult inside = sandbox.exec("python3", "-c", LOOP, PROGRAM, arguments[3]);
      require(inside);
      List<String> lines = inside.stdout().text().lines().toList();
      if (lines.size() != 2 * rounds) {
        throw new IllegalStateException("the guest printed " + lines.size() + " lines");
      }
      for (int i = 0; i < rounds; i++) {
        spawn.add(Long.parseLong(lines.get(i)));
        fork.add(Long.parseLong(lines.get(rounds + i)));
      }
    }
    try (Results results = new Results("exec", "what,round,nanos")) {
      results.add("exec", exec);
      results.add("posix_spawn", spawn);
      results.add("fork", fork);
    }
    System.out.print(
        Table.ofMillis(PROGRAM)
            .nanos("from the host: sandbox.exec", exec)
            .nanos("in the guest: posix_spawn, wait", spawn)
            .nanos("in the guest: fork, exec, wait", fork));
  }

  private static void require(ExecResult result) {
    if (!result.succeeded()) {
      throw new IllegalStateException(result + "\n" + result.stderr().text());
    }
  }
}
