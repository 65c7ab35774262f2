// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.RateLimits;
import dev.nacelle.spi.VmExit.Reason;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
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
    KvmVirtualMachine machine =
        hypervisor.create(
            new MachineSpec(
                "test",
                TestMachines.MEMORY,
                cpus,
                1024,
                BareGuest.realMode(BareGuest.SPIN),
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
