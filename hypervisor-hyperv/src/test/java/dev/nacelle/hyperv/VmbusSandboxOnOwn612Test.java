// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import org.junit.jupiter.api.Tag;

@Tag("boot")
@Tag("kvm")
class VmbusSandboxOnOwn612Test extends AbstractVmbusSandboxTest {
  VmbusSandboxOnOwn612Test() {
    super("nacelle:6.12", 1);
  }
}
