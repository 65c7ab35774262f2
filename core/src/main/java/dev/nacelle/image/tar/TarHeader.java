// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * A header block: "ustar Interchange Format" of POSIX.1-2017 pax, and GNU's variant ("Basic Tar
 * Format" of the GNU tar manual). Offsets are those of POSIX's table.
 */
final class TarHeader {
  static final int BLOCK = 512;

  private static final int CHECKSUM = 148;
  private static final int CHECKSUM_LENGTH = 8;

  private final byte[] block;

  TarHeader(byte[] block) throws TarException {
    this.block = block;
    long stored = number(CHECKSUM, CHECKSUM_LENGTH, "checksum");
    long unsigned = 0;
    long signed = 0;
    for (int i = 0; i < BLOCK; i++) {
      byte b = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_LENGTH ? (byte) ' ' : block[i];
      unsigned += b & 0xFF;
      signed += b;
    }
    // Some old writers took their signed chars for the bytes.
    if (stored != unsigned && stored != signed) {
      throw new TarException("the checksum of a tar header does not match");
    }
  }

  static boolean isZero(byte[] block) {
    for (byte b : block) {
      if (b != 0) {
        return false;
      }
    }
    return true;
  }

  /** The block itself, for what only some formats have. */
  byte[] bytes() {
    return block;
  }

  /** "typeflag". */
  char type() {
    return (char) (block[156] & 0xFF);
  }

  /** "prefix" and "name"; GNU has other things where the prefix is. */
  byte[] path() {
    byte[] name = text(0, 100);
    byte[] prefix = hasMagic("ustar\0") ? text(345, 155) : new byte[0];
    if (prefix.length == 0) {
      return name;
    }
    byte[] path = Arrays.copyOf(prefix, prefix.length + 1 + name.length);
    path[prefix.length] = '/';
    System.arraycopy(name, 0, path, prefix.length + 1, name.length);
    return path;
  }

  byte[] linkTarget() {
    return text(157, 100);
  }

  long mode() throws TarException {
    return number(100, 8, "mode");
  }

  long uid() throws TarException {
    return number(108, 8, "uid");
  }

  long gid() throws TarException {
    return number(116, 8, "gid");
  }

  long size() throws TarException {
    return number(124, 12, "size");
  }

  long modified() throws TarException {
    return number(136, 12, "mtime");
  }

  long major() throws TarException {
    return number(329, 8, "devmajor");
  }

  long minor() throws TarException {
    return number(337, 8, "devminor");
  }

  private boolean hasMagic(String magic) {
    byte[] expected = magic.getBytes(StandardCharsets.US_ASCII);
    return Arrays.equals(block, 257, 257 + expected.length, expected, 0, expected.length);
  }

  private byte[] text(int offset, int length) {
    return untilNul(Arrays.copyOfRange(block, offset, offset + length));
  }

  static byte[] untilNul(byte[] bytes) {
    int end = 0;
    while (end < bytes.length && bytes[end] != 0) {
      end++;
    }
    return Arrays.copyOf(bytes, end);
  }

  long number(int offset, int length, String field) throws TarException {
    return number(block, offset, length, field);
  }

  /**
   * Octal digits between spaces and NULs, or GNU's binary form: a first byte of 0x80 or 0xFF, then
   * a big-endian number.
   */
  static long number(byte[] bytes, int offset, int length, String field) throws TarException {
    int first = bytes[offset] & 0xFF;
    return (first & 0x80) != 0
        ? binary(bytes, offset, length, field)
        : octal(bytes, offset, length, field);
  }

  private static long binary(byte[] bytes, int offset, int length, String field)
      throws TarException {
    boolean negative = (bytes[offset] & 0x40) != 0;
    // The first byte's highest bit is the mark; the next one is the sign.
    long value = negative ? -1 : 0;
    for (int i = 0; i < length; i++) {
      int b = bytes[offset + i] & 0xFF;
      if (i == 0) {
        b = negative ? b : b & 0x7F;
      }
      if (value >> 55 != (negative ? -1 : 0)) {
        throw new TarException("the " + field + " of a tar header has more than 63 bits");
      }
      value = value << 8 | b;
    }
    return value;
  }

  private static long octal(byte[] bytes, int offset, int length, String field)
      throws TarException {
    int from = offset;
    int to = offset + length;
    while (from < to && isPadding(bytes[from])) {
      from++;
    }
    while (to > from && isPadding(bytes[to - 1])) {
      to--;
    }
    long value = 0;
    for (int i = from; i < to && bytes[i] != 0; i++) {
      int digit = bytes[i] - '0';
      if (digit < 0 || digit > 7) {
        throw new TarException("the " + field + " of a tar header is no number");
      }
      value = value << 3 | digit;
    }
    return value;
  }

  private static boolean isPadding(byte b) {
    return b == ' ' || b == 0;
  }
}
