// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * The name of a directory entry: 1 to 255 bytes of any value but '/' and NUL, and neither "." nor
 * "..". Linux gives file names no encoding, so they are bytes here. Ordered by unsigned byte value.
 */
public final class FileName implements Comparable<FileName> {
  /** EXT4_NAME_LEN. */
  public static final int MAX_BYTES = 255;

  /** One char per byte: a compact string is the smallest thing that has equals and a hash code. */
  private final String bytes;

  private FileName(String bytes) {
    this.bytes = bytes;
  }

  /** The name that consists of the UTF-8 bytes of a string; IllegalArgumentException if none. */
  public static FileName of(String name) {
    return of(name.getBytes(StandardCharsets.UTF_8));
  }

  /** The name that consists of these bytes; IllegalArgumentException if they are none. */
  public static FileName of(byte[] name) {
    return of(name, 0, name.length);
  }

  /** The name in part of an array; IllegalArgumentException if it is none. */
  public static FileName of(byte[] bytes, int from, int to) {
    String name = new String(bytes, from, to - from, StandardCharsets.ISO_8859_1);
    String fault = fault(name);
    if (fault != null) {
      throw new IllegalArgumentException(fault);
    }
    return new FileName(name);
  }

  private static @Nullable String fault(String name) {
    if (name.isEmpty()) {
      return "a file name is empty";
    }
    if (name.length() > MAX_BYTES) {
      return "a file name has " + name.length() + " bytes, more than " + MAX_BYTES;
    }
    if (name.equals(".") || name.equals("..")) {
      return "'" + name + "' is no file name";
    }
    if (name.indexOf('/') >= 0 || name.indexOf('\0') >= 0) {
      return "a file name holds a slash or a NUL";
    }
    return null;
  }

  /** A copy of the bytes. */
  public byte[] toBytes() {
    return bytes.getBytes(StandardCharsets.ISO_8859_1);
  }

  /** How many bytes. */
  public int length() {
    return bytes.length();
  }

  /** Whether the name begins with these ASCII characters. */
  public boolean startsWith(String ascii) {
    return bytes.startsWith(ascii);
  }

  @Override
  public int compareTo(FileName other) {
    return bytes.compareTo(other.bytes);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof FileName name && bytes.equals(name.bytes);
  }

  @Override
  public int hashCode() {
    return bytes.hashCode();
  }

  /** For messages; see {@link #printable}. */
  @Override
  public String toString() {
    return printable(toBytes());
  }

  /**
   * Any bytes as text for a message or a log: UTF-8 where it is valid, {@code \xNN} for other bytes
   * and for control characters, so that a hostile name can neither forge a line nor drive a
   * terminal.
   */
  public static String printable(byte[] bytes) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = ByteBuffer.wrap(bytes);
    CharBuffer out = CharBuffer.allocate(bytes.length);
    StringBuilder text = new StringBuilder(bytes.length);
    while (true) {
      CoderResult result = decoder.decode(in, out, true);
      appendEscaped(text, out.flip());
      out.clear();
      if (!result.isError()) {
        return text.toString();
      }
      for (int i = 0; i < result.length(); i++) {
        text.append(String.format(Locale.ROOT, "\\x%02x", in.get()));
      }
      decoder.reset();
    }
  }

  private static void appendEscaped(StringBuilder text, CharBuffer chars) {
    chars
        .chars()
        .forEach(
            c -> {
              int type = Character.getType(c);
              if (type == Character.CONTROL || type == Character.FORMAT) {
                for (byte b : String.valueOf((char) c).getBytes(StandardCharsets.UTF_8)) {
                  text.append(String.format(Locale.ROOT, "\\x%02x", b));
                }
              } else {
                text.append((char) c);
              }
            });
  }
}
