// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimits;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.sys.Niceness;
import dev.nacelle.kvm.sys.ThreadSignal;
import java.time.Duration;
import java.util.List;
import java.util.OptionalDouble;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** How much of the host's processors a machine has. */
@Timeout(120)
class CpuTimeTest {
  @RegisterExtension final TestMachines machines = new TestMachines();

  private KvmVirtualMachine start(
      int cpus, double quota, int niceness, BareGuest guest, DeviceFactory... devices) {
    KvmVirtualMachine machine =
        machines
            .hypervisor()
            .create(
                new MachineSpec(
                    "test",
                    TestMachines.MEMORY,
                    cpus,
                    1024,
                    guest,
                    List.of(devices),
                    RateLimits.NONE,
                    true,
                    OptionalDouble.of(quota),
                    niceness,
                    MemoryPolicy.SPEED));
    machine.start();
    return machine;
  }

  private static Duration cpuTime(KvmVirtualMachine machine) {
    return machine.statistics().cpuTime().orElseThrow();
  }

  /** However busy the host is, which can only give it less. */
  @Test
  void aGuestThatSpinsHasNoMoreThanItsQuota() throws Exception {
    long before = System.nanoTime();
    try (KvmVirtualMachine machine = start(1, 0.1, 0, BareGuest.realMode(BareGuest.SPIN))) {
      Duration enough = Duration.ofMillis(150);
      while (cpuTime(machine).compareTo(enough) < 0) {
        Thread.sleep(10);
      }
      // What it had by then took fifteen periods, but for the first and its set-up.
      long elapsed = System.nanoTime() - before;
      assertTrue(elapsed > Duration.ofMillis(1000).toNanos(), () -> elapsed + " ns");
    }
  }

  @Test
  void aGuestThatRestsEndsAtOnce() throws Exception {
    // Its first slice is all that it may have for a second.
    KvmVirtualMachine machine = start(1, 0.01, 0, BareGuest.realMode(BareGuest.SPIN));
    while (cpuTime(machine).compareTo(Duration.ofMillis(1)) < 0) {
      Thread.onSpinWait();
    }
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
    // What it had is known afterwards, too.
    assertTrue(cpuTime(machine).compareTo(Duration.ofMillis(1)) >= 0);
  }

  @Test
  void whatAGuestThatNeverRanHasTakenIsKnownAfterwards() throws Exception {
    KvmVirtualMachine machine = machines.create(1, BareGuest.realMode(BareGuest.SPIN));
    Duration before = cpuTime(machine);
    assertTrue(before.compareTo(Duration.ZERO) > 0);
    machine.close();
    assertTrue(cpuTime(machine).compareTo(before) >= 0);
  }

  @Test
  void aGuestThatRestsIsPausedAtOnceAndHasTheSameQuotaAfterwards() throws Exception {
    try (KvmVirtualMachine machine = start(1, 0.01, 0, BareGuest.realMode(BareGuest.SPIN))) {
      while (cpuTime(machine).compareTo(Duration.ofMillis(1)) < 0) {
        Thread.onSpinWait();
      }
      machine.pause();
      Duration paused = cpuTime(machine);
      Thread.sleep(300);
      // But for some microseconds in which its thread comes to rest.
      Duration since = cpuTime(machine).minus(paused);
      assertTrue(since.compareTo(Duration.ofMillis(1)) < 0, since::toString);
      machine.resume();
      while (cpuTime(machine).compareTo(paused.plusMillis(2)) < 0) {
        Thread.sleep(10);
      }
    }
  }

  @Test
  void aQuotaChangesNothingOfWhatAGuestDoes() throws Exception {
    try (KvmVirtualMachine machine =
        start(1, 0.5, 0, BareGuest.realMode(BareGuest.REAL_MODE_POWER_OFF))) {
      assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    }
  }

  @Test
  void niceVcpusGiveWayAndTheirMakerDoesNot() throws Exception {
    int own = Niceness.of(0);
    CompletableFuture<Integer> ofVcpu = new CompletableFuture<>();
    // More output than is gathered is handed over by the vCPU's thread: the event loop has no time.
    DeviceFactory busy =
        resources -> {
          assertTrue(resources.execute(ofVcpu::join));
          return new RecordingDevice();
        };
    try (KvmVirtualMachine machine =
        start(
            1,
            1,
            7,
            BareGuest.realMode(
                "ba f8 03", // mov $0x3f8, %dx
                "31 f6", // again: xor %si, %si
                "b9 00 10", // mov $0x1000, %cx
                "f3 6e", // rep outsb
                "eb f7"), // jmp again
            busy)) {
      machine.console().stream(
          bytes -> {
            if (Thread.currentThread().getName().contains("vcpu")) {
              ofVcpu.complete(Niceness.of(ThreadSignal.currentThread()));
            }
          });
      assertEquals(Math.min(19, own + 7), ofVcpu.get());
    }
    assertEquals(own, Niceness.of(0));
  }
}
