// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.RateLimits;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.sys.ThreadSignal;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Which threads of machines are kept apart from all others on a core, and for how long. */
@Timeout(60)
class CoreSchedulingTest {
  private final FakeCoreScheduling scheduling = new FakeCoreScheduling();
  private final KvmHypervisor hypervisor =
      new KvmHypervisor(Kvm.open(), Duration.ofSeconds(10), scheduling);

  @AfterEach
  void close() {
    hypervisor.close();
  }

  private KvmVirtualMachine start(int cpus, boolean coreScheduling) {
    return start(hypervisor, cpus, coreScheduling, BareGuest.SPIN);
  }

  private static KvmVirtualMachine start(
      KvmHypervisor hypervisor, int cpus, boolean coreScheduling, String... code) {
    KvmVirtualMachine machine =
        hypervisor.create(
            new MachineSpec(
                "test",
                TestMachines.MEMORY,
                cpus,
                1024,
                BareGuest.realMode(code),
                List.of(),
                RateLimits.NONE,
                coreScheduling));
    machine.start();
    return machine;
  }

  @Test
  void theVcpusOfAMachineAreKeptTogetherWhileTheyRunItAndNothingElseIs() throws Exception {
    KvmVirtualMachine one = start(2, true);
    Map<Integer, Long> first = scheduling.await(2);
    assertEquals(1, new HashSet<>(first.values()).size(), first::toString);
    KvmVirtualMachine other = start(2, true);
    // Two vCPUs each, and neither event loops nor the test's thread.
    Map<Integer, Long> both = scheduling.await(4);
    assertEquals(2, new HashSet<>(both.values()).size(), both::toString);
    assertTrue(both.entrySet().containsAll(first.entrySet()), both::toString);
    one.close();
    assertEquals(2, scheduling.await(2).size());
    other.close();
    assertEquals(Map.of(), scheduling.await(0));
  }

  @Test
  void aMachineMaySayThatItSharesCores() throws Exception {
    KvmVirtualMachine sharing = start(1, false);
    KvmVirtualMachine alone = start(1, true);
    scheduling.await(1);
    alone.close();
    sharing.close();
    assertEquals(Map.of(), scheduling.await(0));
  }

  /** More output than is gathered is handed over by the vCPU's thread. */
  @Test
  void aUserIsNotCalledByAThreadThatIsKeptApart() throws Exception {
    CompletableFuture<Long> cookieOfVcpu = new CompletableFuture<>();
    // The event loop has no time for the console until then.
    DeviceFactory busy =
        resources -> {
          assertTrue(resources.execute(cookieOfVcpu::join));
          return new RecordingDevice();
        };
    KvmVirtualMachine machine =
        hypervisor.create(
            new MachineSpec(
                "test",
                TestMachines.MEMORY,
                1,
                1024,
                BareGuest.realMode(
                    "ba f8 03", // mov $0x3f8, %dx
                    "31 f6", // again: xor %si, %si
                    "b9 00 10", // mov $0x1000, %cx
                    "f3 6e", // rep outsb
                    "eb f7"), // jmp again
                List.of(busy),
                RateLimits.NONE,
                true));
    machine.console().stream(
        bytes -> {
          if (Thread.currentThread().getName().contains("vcpu")) {
            cookieOfVcpu.complete(scheduling.cookie(ThreadSignal.currentThread()));
          }
        });
    machine.start();
    assertEquals(0, cookieOfVcpu.get());
    scheduling.await(1);
    machine.close();
    assertEquals(Map.of(), scheduling.await(0));
  }

  @Test
  void machinesAreKeptApartOnceSmtIsSwitchedOn() throws Exception {
    scheduling.failWith(Errno.ENODEV);
    try (KvmHypervisor opened = new KvmHypervisor(Kvm.open(), Duration.ofSeconds(10), scheduling)) {
      KvmVirtualMachine before = start(opened, 1, true, BareGuest.REAL_MODE_POWER_OFF);
      assertEquals(Reason.POWER_OFF, before.exit().get().reason());
      scheduling.failWith(0);
      KvmVirtualMachine after = start(opened, 2, true, BareGuest.SPIN);
      assertEquals(1, new HashSet<>(scheduling.await(2).values()).size());
      after.close();
    }
  }

  @Test
  void machinesRunWhereTheHostHasNoCoreScheduling() throws Exception {
    scheduling.failWith(Errno.EINVAL);
    try (KvmHypervisor opened = new KvmHypervisor(Kvm.open(), Duration.ofSeconds(10), scheduling)) {
      KvmVirtualMachine machine = start(opened, 1, true, BareGuest.REAL_MODE_POWER_OFF);
      assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    }
  }

  @Test
  void aMachineThatCannotBeKeptApartEndsAndSaysWhy() throws Exception {
    scheduling.failWith(Errno.ENOMEM);
    KvmVirtualMachine machine = start(1, true);
    assertEquals(Reason.HOST_ERROR, machine.exit().get().reason());
    assertTrue(
        machine.exit().get().detail().contains("PR_SCHED_CORE: ENOMEM"),
        () -> machine.exit().join().detail());
  }
}
