// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;

/** What a peer says, read by no more than is asked for. */
public final class Words {
  private Words() {}

  /**
   * Up to an end, and with it, a byte a character.
   *
   * @throws EOFException with what came, where that does not
   */
  public static String until(String end, InputStream from) throws IOException {
    StringBuilder words = new StringBuilder();
    while (words.indexOf(end) < 0) {
      int next = from.read();
      if (next < 0) {
        throw new EOFException(words.toString());
      }
      words.append((char) next);
    }
    return words.toString();
  }
}
