// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import dev.nacelle.DataSize;
import dev.nacelle.VmStatistics;
import dev.nacelle.benchmarks.MemoryUse;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;

/** Through the SPI, as core does it. */
final class NacelleBoot implements Boot {
  /** Where the agent dials (proto/src/main/protobuf/nacelle/agent/v1/agent.proto). */
  static final int AGENT_PORT = 1024;

  private final Hypervisor hypervisor;

  NacelleBoot(Hypervisor hypervisor) {
    this.hypervisor = hypervisor;
  }

  @Override
  public String name() {
    return "nacelle";
  }

  @Override
  public Result run(Guest guest) {
    VmSpec spec =
        VmSpec.builder(
                "bench",
                VmSpec.Linux.builder(guest.kernel())
                    .initramfs(guest.initramfs())
                    .parameters(guest.parameters())
                    .memoryPolicy(guest.memoryPolicy())
                    // As all of the kernels here are configured.
                    .paravirtualClock(true)
                    .build(),
                DataSize.mebibytes(guest.memoryMib()))
            .build();
    CompletableFuture<Long> ready = new CompletableFuture<>();
    long called = System.nanoTime();
    try (VirtualMachine machine = hypervisor.create(spec)) {
      machine.listen(AGENT_PORT, connection -> ready.complete(System.nanoTime()));
      machine
          .exit()
          .thenAccept(exit -> ready.completeExceptionally(new IllegalStateException("" + exit)));
      machine.start();
      long accepted;
      try {
        accepted = ready.join();
      } catch (RuntimeException e) {
        throw new IllegalStateException(e.getMessage() + "\n" + machine.console().tail(), e);
      }
      VmStatistics statistics = machine.statistics();
      Map<String, Long> counters = new TreeMap<>(statistics.exits());
      counters.put(
          "nanos to the first KVM_RUN", statistics.firstRunNanoTime().orElseThrow() - called);
      counters.put(
          "KiB of the host that the guest's memory takes", MemoryUse.ofGuestsAlone() / 1024);
      return new Result(accepted - called, counters);
    }
  }
}
