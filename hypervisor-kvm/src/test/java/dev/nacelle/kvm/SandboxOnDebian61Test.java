// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractSandboxContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class SandboxOnDebian61Test extends AbstractSandboxContractTest {
  SandboxOnDebian61Test() {
    super("debian:6.1", 2);
  }
}
