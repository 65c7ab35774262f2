// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractKernelContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class SandboxOnDebian612Test extends AbstractKernelContractTest {
  SandboxOnDebian612Test() {
    super("debian:6.12", 1);
  }
}
