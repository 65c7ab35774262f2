// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractKernelContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class SandboxOnOwn61Test extends AbstractKernelContractTest {
  SandboxOnOwn61Test() {
    super("nacelle:6.1", 2);
  }
}
