// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.AbstractSandboxContractTest;
import dev.nacelle.DataSize;
import dev.nacelle.Sandbox;
import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("boot")
class SandboxOnOwn612Test extends AbstractSandboxContractTest {
  SandboxOnOwn612Test() {
    super("nacelle:6.12", 1);
  }

  @Override
  protected Duration readersRest() {
    return Duration.ofMinutes(1);
  }

  /** Others are in {@link MemoryGivenBackBootTest}. */
  @Test
  void quickGuestsKeepTheirMemory() {
    Sandbox sandbox = sandbox();
    assertEquals(sandbox.spec().memory(), sandbox.memory());
    assertThrows(
        UnsupportedOperationException.class, () -> sandbox.setMemory(DataSize.mebibytes(64)));
    assertEquals("0\n", sandbox.exec("sh", "-c", MemoryGivenBackBootTest.BALLOONS).stdout().text());
  }
}
