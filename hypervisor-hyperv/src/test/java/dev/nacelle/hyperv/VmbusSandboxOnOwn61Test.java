// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import org.junit.jupiter.api.Tag;

@Tag("boot")
@Tag("kvm")
class VmbusSandboxOnOwn61Test extends AbstractVmbusSandboxTest {
  VmbusSandboxOnOwn61Test() {
    super("nacelle:6.1", 2);
  }
}
