// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import org.jspecify.annotations.Nullable;

/** Text that a guest sent, made fit for messages and logs. */
final class GuestText {
  private static final int MAX_LENGTH = 1000;

  private GuestText() {}

  /**
   * Without control characters, line separators and whatever else Unicode does not call visible;
   * cut after 1000 characters.
   */
  static String clean(@Nullable String text) {
    if (text == null) {
      return "";
    }
    StringBuilder clean = new StringBuilder(Math.min(text.length(), MAX_LENGTH));
    text.codePoints()
        .limit(MAX_LENGTH)
        .map(c -> isPrintable(c) ? c : ' ')
        .forEach(clean::appendCodePoint);
    return clean.toString().strip();
  }

  private static boolean isPrintable(int codePoint) {
    return switch (Character.getType(codePoint)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR ->
          false;
      default -> true;
    };
  }
}
