// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import java.nio.ByteBuffer;
import java.util.function.Consumer;

/** The end of what was written to an output. Not safe for use from several threads. */
final class RecentOutput {
  /** How much is kept. */
  static final int CAPACITY = 64 * 1024;

  /** Grows with what there is. */
  private byte[] ring = new byte[0];

  private int start;
  private int size;

  /** Adds what the buffer has, whose position is left alone. */
  void add(ByteBuffer bytes) {
    ByteBuffer more = bytes.duplicate();
    more.position(Math.max(more.position(), more.limit() - CAPACITY));
    int added = more.remaining();
    if (size + added > ring.length && ring.length < CAPACITY) {
      byte[] larger =
          new byte[Math.min(CAPACITY, Math.max(size + added, Math.max(1024, 2 * ring.length)))];
      copyTo(larger);
      ring = larger;
      start = 0;
    }
    int end = (start + size) % ring.length;
    int first = Math.min(added, ring.length - end);
    more.get(ring, end, first);
    more.get(ring, 0, added - first);
    int dropped = Math.max(0, size + added - ring.length);
    start = (start + dropped) % ring.length;
    size += added - dropped;
  }

  /** What there is. */
  byte[] bytes() {
    byte[] bytes = new byte[size];
    copyTo(bytes);
    return bytes;
  }

  /** Hands out what there is, unless that is nothing. */
  void ifPresent(Consumer<ByteBuffer> consumer) {
    if (size > 0) {
      consumer.accept(ByteBuffer.wrap(bytes()));
    }
  }

  private void copyTo(byte[] target) {
    int first = Math.min(size, ring.length - start);
    System.arraycopy(ring, start, target, 0, first);
    System.arraycopy(ring, 0, target, first, size - first);
  }
}
