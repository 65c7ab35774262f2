// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.AbstractSandboxContractTest;
import dev.nacelle.Nacelle;
import dev.nacelle.engine.EngineBuilder;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** Sandboxes on the stand-in, whose machines QEMU runs. */
@Tag("boot")
@ExtendWith(BootsMachines.class)
class SandboxOnHypervTest extends AbstractSandboxContractTest {
  SandboxOnHypervTest() {
    super("nacelle:6.12", 1);
  }

  @Override
  protected Nacelle.Builder builder() {
    return new EngineBuilder().hypervisor(new StandInProvider());
  }

  /** The service opens a machine's disks when that starts, by their names. */
  @Override
  protected boolean disksKeepTheirNames() {
    return true;
  }

  /** The service is not asked. */
  @Override
  protected boolean hostCountsUse() {
    return false;
  }

  /** QEMU gives nothing back of a VHDX. */
  @Override
  protected boolean disksShrink() {
    return false;
  }
}
