// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.AbstractSandboxContractTest;
import java.time.Duration;
import org.junit.jupiter.api.Tag;

@Tag("boot")
class SandboxOnOwn612Test extends AbstractSandboxContractTest {
  SandboxOnOwn612Test() {
    super("nacelle:6.12", 1);
  }

  @Override
  protected Duration readersRest() {
    return Duration.ofMinutes(1);
  }
}
