// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class IsolationStateTest {
  @Test
  void commandIsSplitAsAShellSplitsIt() {
    assertEquals(List.of("echo", "ready"), IsolationState.parse("  echo  ready "));
    assertEquals(
        List.of("sh", "-c", "echo \"a  b\"", ""),
        IsolationState.parse("sh -c 'echo \"a  b\"' \"\""));
    assertEquals(List.of("a b"), IsolationState.parse("a' 'b"));
    assertThrows(IllegalArgumentException.class, () -> IsolationState.parse("echo 'a"));
    assertThrows(IllegalArgumentException.class, () -> IsolationState.parse(" "));
  }
}
