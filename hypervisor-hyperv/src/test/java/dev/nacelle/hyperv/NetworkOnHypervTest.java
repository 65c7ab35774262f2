// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.AbstractNetworkContractTest;
import dev.nacelle.Nacelle;
import dev.nacelle.engine.EngineBuilder;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** On the stand-in, whose machines QEMU runs. */
@Tag("boot")
@ExtendWith(BootsMachines.class)
class NetworkOnHypervTest extends AbstractNetworkContractTest {
  NetworkOnHypervTest() {
    super("nacelle:6.12");
  }

  @Override
  protected Nacelle.Builder builder() {
    return new EngineBuilder().hypervisor(new StandInProvider());
  }
}
