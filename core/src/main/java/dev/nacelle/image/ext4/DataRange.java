// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

/**
 * Part of a sparse file that holds data.
 *
 * @param offset in the file, in bytes, not negative
 * @param length in bytes, not negative
 */
public record DataRange(long offset, long length) {
  /**
   * @throws IllegalArgumentException when either is negative or the end overflows
   */
  public DataRange {
    if (offset < 0 || length < 0 || offset + length < 0) {
      throw new IllegalArgumentException("no range of a file: " + offset + " + " + length);
    }
  }

  /** Offset of the first byte behind it. */
  public long end() {
    return offset + length;
  }
}
