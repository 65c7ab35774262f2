// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class OwnerTest {
  @Test
  void thisProcessRuns() {
    Owner own = Owner.ofThisProcess();
    assertEquals(Optional.of(own), Owner.parse(own.toString()));
    assertFalse(own.hasEnded());
  }

  @Test
  void processThatIsNoMoreHasEnded() throws Exception {
    Process process = new ProcessBuilder("true").start();
    process.waitFor();
    assertTrue(new Owner(process.pid(), 1).hasEnded());
  }

  @Test
  void laterProcessOfTheSameNumberIsAnother() {
    Owner own = Owner.ofThisProcess();
    assertTrue(new Owner(own.process(), own.startMillis() - 1000).hasEnded());
    // Not known: it may be the same.
    assertFalse(new Owner(own.process(), 0).hasEnded());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "WSL",
        "nacelle",
        "nacelle-1",
        "nacelle-x-1",
        "nacelle-1-1-1",
        "nacelle-1-99999999999999999999"
      })
  void ownersOfOthersAreNone(String owner) {
    assertEquals(Optional.empty(), Owner.parse(owner));
  }
}
