// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class MachineClockTest {
  private final MachineClock clock = new MachineClock();

  @Test
  void goesOnFromWhereItStood() throws Exception {
    long behind = System.nanoTime() - clock.nanoTime();
    clock.pause();
    assertTrue(clock.isPaused());
    long stood = clock.nanoTime();
    Thread.sleep(20);
    clock.pause();
    assertEquals(stood, clock.nanoTime());
    clock.resume();
    clock.resume();
    assertFalse(clock.isPaused());
    assertTrue(clock.nanoTime() - stood >= 0);
    assertTrue(System.nanoTime() - clock.nanoTime() >= behind + 20_000_000);
  }
}
