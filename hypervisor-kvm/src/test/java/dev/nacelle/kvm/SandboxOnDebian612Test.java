// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractSandboxContractTest;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class SandboxOnDebian612Test extends AbstractSandboxContractTest {
  SandboxOnDebian612Test() {
    super("debian:6.12", 2);
  }
}
