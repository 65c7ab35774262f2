// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * Size of a terminal's window.
 *
 * @param rows in characters, 0 (unknown) to 65535
 * @param columns in characters, 0 (unknown) to 65535
 */
public record TerminalSize(int rows, int columns) {
  /** The size that terminals have where nobody says otherwise: 24 rows of 80 columns. */
  public static final TerminalSize DEFAULT = new TerminalSize(24, 80);

  /**
   * Checks the bounds (struct winsize holds 16 bits each).
   *
   * @throws IllegalArgumentException when one is out of its bounds
   */
  public TerminalSize {
    if (rows < 0 || rows > 0xffff || columns < 0 || columns > 0xffff) {
      throw new IllegalArgumentException(
          "a terminal has 0 to 65535 rows and columns, not " + rows + " x " + columns);
    }
  }
}
