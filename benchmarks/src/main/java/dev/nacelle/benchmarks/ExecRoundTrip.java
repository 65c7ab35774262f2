// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.store.ImageStore;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Times {@code exec("true")} from the host, with 1, 10 and 100 calls at once; {@code crun exec} of
 * the same program of the same image, in a container of the host, as often; and the program started
 * in a loop by a program of the same guest: the difference to the first is what the way from the
 * host and back costs. Needs a KVM that boots kernels.
 */
public final class ExecRoundTrip {
  private static final String PROGRAM = "/usr/bin/true";
  private static final List<Integer> AT_ONCE = List.of(1, 10, 100);
  private static final int WARM_UPS_OF_PEER = 5;

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
   *     and how many of each count, at least two for each at once, after as many that do not; of
   *     crun's half
   */
  public static void main(String... arguments) throws Exception {
    int rounds = Integer.parseInt(arguments[3]);
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(arguments[2])
            .kernel(arguments[1])
            .memory(DataSize.mebibytes(256))
            .startTimeout(Duration.ofMinutes(10))
            .build();
    Map<String, Samples> calls = new LinkedHashMap<>();
    Samples spawn = new Samples();
    Samples fork = new Samples();
    Path cache = Path.of(arguments[0]);
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(cache).build();
        Sandbox sandbox = nacelle.start(spec)) {
      Call exec = () -> require(sandbox.exec(PROGRAM));
      calls("warm-up", 1, rounds, exec);
      for (int atOnce : AT_ONCE) {
        String name = "from the host: sandbox.exec, " + atOnce + " at once";
        calls.put(name, calls(name, atOnce, Math.max(rounds, 2 * atOnce), exec));
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
    if (CrunContainer.isInstalled()) {
      Path filesystem =
          new ImageStore(cache.resolve("images"))
              .resolve(ImageRef.parse(arguments[2]))
              .filesystem();
      try (CrunContainer container = new CrunContainer(filesystem)) {
        Call exec = () -> container.exec(PROGRAM);
        calls("warm-up", 1, WARM_UPS_OF_PEER, exec);
        for (int atOnce : AT_ONCE) {
          String name = "on the host: crun exec, " + atOnce + " at once";
          calls.put(name, calls(name, atOnce, Math.max(rounds / 2, 2 * atOnce), exec));
        }
      }
    } else {
      System.out.println("There is no crun here, so it is not compared.");
    }
    try (Results results = new Results("exec", "what,round,nanos")) {
      calls.forEach((name, samples) -> results.add('"' + name + '"', samples));
      results.add("posix_spawn", spawn);
      results.add("fork", fork);
    }
    calls.put("in the guest: posix_spawn, wait", spawn);
    calls.put("in the guest: fork, exec, wait", fork);
    Table table = new Table(PROGRAM, "median ms", "99 %", "min", "max", "n");
    calls.forEach(
        (name, samples) ->
            table.row(
                name,
                Table.millis(samples.median()),
                Table.millis(samples.quantile(0.99)),
                Table.millis(samples.min()),
                Table.millis(samples.max()),
                String.valueOf(samples.count())));
    System.out.print(table);
  }

  private interface Call {
    void run() throws IOException;
  }

  /** Makes so many calls, as many at once as there are threads, and times each. */
  private static Samples calls(String name, int atOnce, int count, Call call) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(atOnce);
    Samples samples = new Samples();
    try {
      Callable<Long> timed =
          () -> {
            long start = System.nanoTime();
            call.run();
            return System.nanoTime() - start;
          };
      for (Future<Long> nanos : threads.invokeAll(Collections.nCopies(count, timed))) {
        samples.add(nanos.get());
      }
    } finally {
      threads.shutdown();
    }
    System.out.println(
        name
            + ": "
            + Table.millis(samples.median())
            + " ms, 99 % "
            + Table.millis(samples.quantile(0.99)));
    return samples;
  }

  private static void require(ExecResult result) {
    if (!result.succeeded()) {
      throw new IllegalStateException(result + "\n" + result.stderr().text());
    }
  }
}
