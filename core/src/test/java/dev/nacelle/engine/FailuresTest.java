// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class FailuresTest {
  private static String lines(String what, int count) {
    return IntStream.range(0, count).mapToObj(i -> what + i + "\n").collect(Collectors.joining());
  }

  @Test
  void theEndOfAConsoleIsShown() {
    assertEquals("a0\na1", Failures.lastLines(lines("a", 2) + "\n\n"));
    assertEquals(25, Failures.lastLines(lines("a", 100)).lines().count());
    assertTrue(Failures.lastLines(lines("a", 100)).startsWith("a75\n"));
    assertEquals("", Failures.lastLines(""));
  }

  @Test
  void aPanicIsShownFromItsBeginningHoweverLongItsTraceIs() {
    String console =
        lines("boot ", 50)
            + "[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
            + lines("trace ", 60)
            + "[ 1.1] ---[ end Kernel panic - not syncing ]---\n";
    String shown = Failures.lastLines(console);
    assertTrue(shown.startsWith("[ 1.0] Kernel panic"), shown);
    assertTrue(shown.contains("trace 8\n[37 lines]\ntrace 46\n"), shown);
    assertTrue(shown.endsWith("---[ end Kernel panic - not syncing ]---"), shown);
  }

  @Test
  void aPanicJustBeforeTheEndIsNotCut() {
    String console = lines("boot ", 50) + "Kernel panic\n" + lines("trace ", 20);
    assertEquals(
        console.lines().skip(46).collect(Collectors.joining("\n")), Failures.lastLines(console));
    String longer = lines("boot ", 50) + "Kernel panic\n" + lines("trace ", 25);
    assertTrue(Failures.lastLines(longer).startsWith("Kernel panic\ntrace 0\n"));
  }
}
