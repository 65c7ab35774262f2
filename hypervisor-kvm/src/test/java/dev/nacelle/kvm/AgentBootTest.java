// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.GuestAgentBinary;
import dev.nacelle.kernel.store.KernelStore;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.ContractGuest;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The agent with a host that it has lost, or never finds. */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class AgentBootTest {
  private static VirtualMachine create(KvmHypervisor hypervisor, String ref) {
    KernelStore kernels = TestKernels.store();
    ResolvedKernel kernel = kernels.resolve(KernelRef.parse(ref));
    return hypervisor.create(
        VmSpec.builder(
                "agent",
                VmSpec.Linux.builder(kernel.vmlinux())
                    .initramfs(
                        kernels.initramfs(kernel, GuestAgentBinary.load(), ContractGuest.drivers()))
                    .build(),
                DataSize.mebibytes(128))
            .build());
  }

  @Test
  void powersTheMachineOffWhenItsHostHangsUp() throws Exception {
    try (KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open())) {
      VirtualMachine machine = create(hypervisor, "nacelle:6.12");
      machine.listen(AgentClient.PORT, GuestConnection::close);
      machine.start();
      assertEquals(Reason.POWER_OFF, machine.exit().get().reason(), () -> machine.console().tail());
    }
  }

  @Test
  void powersTheMachineOffWhenNobodyAnswers() throws Exception {
    try (KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open())) {
      VirtualMachine machine = create(hypervisor, "debian:6.1");
      machine.start();
      assertEquals(Reason.POWER_OFF, machine.exit().get().reason(), () -> machine.console().tail());
      String console = machine.console().tail();
      assertTrue(console.contains("cannot dial the host on vsock (CID 2, port 1024)"), console);
    }
  }
}
