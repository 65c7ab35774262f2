// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;

/**
 * What a guest has sent of a flow and its socket has not taken: first what may leave, then what was
 * looked at and is held, then what nobody has looked at. At most a window; without content it has
 * no memory.
 */
final class Backlog {
  private final int capacity;
  private ByteBuffer bytes = ByteBuffer.allocate(0);

  /** Of {@link #bytes}: where its content begins, and its parts end. */
  private int from;

  private int cleared;
  private int seen;
  private int to;

  /**
   * @param capacity in bytes
   */
  Backlog(int capacity) {
    this.capacity = capacity;
  }

  int size() {
    return to - from;
  }

  boolean isEmpty() {
    return to == from;
  }

  /** Whether something may leave. */
  boolean mayLeave() {
    return cleared > from;
  }

  /** Whether something is held that was looked at. */
  boolean holdsSeen() {
    return seen > cleared;
  }

  /** Takes all; there is room for a window. */
  void add(ByteBuffer more) {
    int length = more.remaining();
    if (bytes.capacity() == 0) {
      bytes = ByteBuffer.allocate(capacity);
    } else if (capacity - to < length) {
      bytes.limit(to).position(from);
      bytes.compact();
      cleared -= from;
      seen -= from;
      to -= from;
      from = 0;
    }
    bytes.limit(capacity).position(to);
    bytes.put(more);
    to += length;
  }

  /** What nobody has looked at; tell {@link #saw} how much of it was. */
  ByteBuffer unseen() {
    return bytes.limit(to).position(seen);
  }

  void saw(int count) {
    seen += count;
  }

  /** What was looked at may leave. */
  void clear() {
    cleared = seen;
  }

  /** All may leave, whether it was looked at or not. */
  void clearAll() {
    seen = to;
    cleared = to;
  }

  /**
   * Sends what may leave.
   *
   * @param most bytes
   * @return how many the channel has taken
   */
  int writeTo(WritableByteChannel channel, long most) throws IOException {
    int end = from + (int) Math.min(cleared - from, most);
    int count = channel.write(bytes.limit(end).position(from));
    from += count;
    if (from == to) {
      bytes = ByteBuffer.allocate(0);
      from = 0;
      cleared = 0;
      seen = 0;
      to = 0;
    }
    return count;
  }
}
