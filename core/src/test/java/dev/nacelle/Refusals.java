// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.function.Executable;

/** What a caller has said wrongly is refused with what it was, and with its bound. */
public final class Refusals {
  private Refusals() {}

  /** That it is refused in these words. */
  public static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }

  /** That it is refused with these words among others. */
  public static void assertRefusedFor(String words, Executable call) {
    String message =
        String.valueOf(assertThrows(IllegalArgumentException.class, call).getMessage());
    assertTrue(message.contains(words), message);
  }
}
