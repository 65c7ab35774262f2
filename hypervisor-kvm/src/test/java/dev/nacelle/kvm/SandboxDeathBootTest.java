// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractSandboxDeathContractTest;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;

/** Sandboxes on KVM, in all ways that a guest has to die; its machine is this process. */
@Tag("boot")
class SandboxDeathBootTest extends AbstractSandboxDeathContractTest {
  @Override
  protected List<Death> deaths() {
    List<Death> deaths = new ArrayList<>(List.of(Death.values()));
    deaths.remove(Death.MACHINE_KILLED);
    return deaths;
  }
}
