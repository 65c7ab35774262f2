// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.AbstractSandboxDeathContractTest;
import dev.nacelle.Nacelle;
import dev.nacelle.engine.EngineBuilder;
import dev.nacelle.hyperv.machines.Machines;
import java.util.Comparator;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.extension.ExtendWith;

/** Sandboxes on the stand-in, in the ways to die that are told otherwise than on KVM. */
@Tag("boot")
@ExtendWith(BootsMachines.class)
@DisabledOnOs(
    value = OS.WINDOWS,
    disabledReason = "ends processes of QEMU, which are this machine's")
class SandboxDeathOnHypervTest extends AbstractSandboxDeathContractTest {
  @Override
  protected Nacelle.Builder builder() {
    return new EngineBuilder().hypervisor(new StandInProvider());
  }

  @Override
  protected List<Death> deaths() {
    return List.of(Death.POWER_OFF, Death.SOCKET_DEVICE_LOST, Death.MACHINE_KILLED);
  }

  @Override
  protected void killMachine() {
    Machines.guests().stream()
        .max(Comparator.comparing(guest -> guest.info().startInstant().orElseThrow()))
        .orElseThrow()
        .destroyForcibly();
  }
}
