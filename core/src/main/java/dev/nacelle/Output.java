// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** What a process wrote to one of its outputs, or the beginning of it. Immutable. */
public final class Output {
  private final byte[] bytes;
  private final boolean truncated;

  private Output(byte[] bytes, boolean truncated) {
    this.bytes = bytes;
    this.truncated = truncated;
  }

  /** What a process is said to have written as UTF-8, whole; for tests of code that reads it. */
  public static Output of(String text) {
    return new Output(text.getBytes(StandardCharsets.UTF_8), false);
  }

  /**
   * What a process is said to have written.
   *
   * @param bytes copied, from position to limit
   * @param truncated whether it wrote more
   */
  public static Output of(ByteBuffer bytes, boolean truncated) {
    byte[] copy = new byte[bytes.remaining()];
    bytes.duplicate().get(copy);
    return new Output(copy, truncated);
  }

  /** A copy of the bytes. */
  public byte[] bytes() {
    return bytes.clone();
  }

  /** The bytes read as UTF-8; what is not UTF-8 is replaced by U+FFFD. */
  public String text() {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** Number of bytes. */
  public int length() {
    return bytes.length;
  }

  /** Whether the process wrote more than was {@linkplain ProcessSpec#outputLimit() kept}. */
  public boolean truncated() {
    return truncated;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Output output
        && truncated == output.truncated
        && Arrays.equals(bytes, output.bytes);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(bytes);
  }

  /** As {@link #text()}. */
  @Override
  public String toString() {
    return text();
  }
}
