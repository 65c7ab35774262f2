// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.DataSize;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * What memory of the host a guest has when its sandbox has just become ready, and after a while of
 * nothing, with each memory policy. With DENSITY it reports pages that it has freed. Needs a KVM
 * that boots kernels.
 */
public final class IdleMemory {
  private static final DataSize MEMORY = DataSize.mebibytes(128);

  private IdleMemory() {}

  /**
   * @param arguments the cache's directory, an image, seconds, and kernels' references, all in the
   *     cache
   */
  public static void main(String... arguments) throws InterruptedException {
    int seconds = Integer.parseInt(arguments[2]);
    Table table =
        new Table(
            "KiB of the host, guest of " + MEMORY,
            "when ready",
            "after " + seconds + " s of nothing",
            "and after an exec");
    try (Results results = new Results("idle", "kernel,policy,when,bytes");
        Nacelle nacelle = Nacelle.builder().cacheDirectory(Path.of(arguments[0])).build()) {
      for (String kernel : List.of(arguments).subList(3, arguments.length)) {
        // Of reserved huge pages all are taken, always.
        for (MemoryPolicy policy : List.of(MemoryPolicy.SPEED, MemoryPolicy.DENSITY)) {
          SandboxSpec spec =
              SandboxSpec.builder()
                  .image(arguments[1])
                  .kernel(kernel)
                  .memory(MEMORY)
                  .memoryPolicy(policy)
                  .startTimeout(Duration.ofMinutes(10))
                  .build();
          try (Sandbox sandbox = nacelle.start(spec)) {
            long ready = MemoryUse.ofGuestsAlone();
            Thread.sleep(seconds * 1000L);
            long idle = MemoryUse.ofGuestsAlone();
            sandbox.exec("true").orThrow();
            Thread.sleep(seconds * 1000L);
            long used = MemoryUse.ofGuestsAlone();
            results.add(kernel, policy, "ready", ready);
            results.add(kernel, policy, "idle", idle);
            results.add(kernel, policy, "after exec", used);
            table.row(kernel + ", " + policy, Table.kib(ready), Table.kib(idle), Table.kib(used));
          }
        }
      }
    }
    System.out.print(table);
  }
}
