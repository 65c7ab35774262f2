// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import org.junit.jupiter.api.Tag;

@Tag("boot")
@Tag("kvm")
class VmbusSandboxOnDebian61Test extends AbstractVmbusSandboxTest {
  VmbusSandboxOnDebian61Test() {
    super("debian:6.1", 2);
  }
}
