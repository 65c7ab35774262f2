// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.kvm.boot.BareElf;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.Niceness;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Machines have what their specification says; of rates see {@link RateLimitedGuestTest}. */
@Timeout(60)
class KvmHypervisorTest {
  private final FakeCoreScheduling scheduling = new FakeCoreScheduling();
  private final KvmHypervisor hypervisor =
      new KvmHypervisor(Kvm.open(), Duration.ofSeconds(10), scheduling);

  @TempDir Path directory;
  private VmSpec spec;

  @SuppressWarnings("NullAway.Init") // before each test
  KvmHypervisorTest() {}

  @BeforeEach
  void specify() throws IOException {
    Path spinning = directory.resolve("image");
    Files.write(spinning, BareElf.pvh("eb fe").array()); // 1: jmp 1b
    spec =
        VmSpec.builder("test", VmSpec.Bare.of(spinning, ""), DataSize.mebibytes(4))
            .coreScheduling(false)
            .build();
  }

  @AfterEach
  void close() {
    hypervisor.close();
  }

  private VirtualMachine start(VmSpec.Builder spec) {
    VirtualMachine machine = hypervisor.create(spec.build());
    machine.start();
    return machine;
  }

  @Test
  void vcpusAreKeptApartOnCoresAndAreNiceWhereTheSpecificationSaysSo() throws Exception {
    int own = Niceness.of(0);
    try (VirtualMachine sharing = start(spec.toBuilder());
        VirtualMachine alone = start(spec.toBuilder().coreScheduling(true).niceness(6))) {
      Map<Integer, Long> apart = scheduling.await(1);
      int vcpu = apart.keySet().iterator().next();
      while (Niceness.of(vcpu) != Math.min(19, own + 6)) {
        Thread.onSpinWait();
      }
      alone.close();
      scheduling.await(0);
      assertFalse(sharing.exit().isDone());
    }
  }

  /** However busy the host is, which can only give it less. */
  @Test
  void aMachineHasNoMoreProcessorTimeThanItsQuota() throws Exception {
    long before = System.nanoTime();
    try (VirtualMachine machine = start(spec.toBuilder().cpuQuota(0.1))) {
      Duration enough = Duration.ofMillis(100);
      while (machine.statistics().cpuTime().orElseThrow().compareTo(enough) < 0) {
        Thread.sleep(10);
      }
      // Ten periods, but for the first and its set-up.
      long elapsed = System.nanoTime() - before;
      assertTrue(elapsed > Duration.ofMillis(500).toNanos(), () -> elapsed + " ns");
    }
  }

  @Test
  void aMachineHasAsManyProcessorsAsItsSpecificationSays() throws Exception {
    try (VirtualMachine machine = start(spec.toBuilder().cpus(3).coreScheduling(true))) {
      assertEquals(3, scheduling.await(3).size());
    }
  }
}
