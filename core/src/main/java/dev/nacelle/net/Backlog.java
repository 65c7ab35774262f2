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
  private static final int SMALLEST = 16 << 10;
  private static final ByteBuffer NONE = ByteBuffer.allocate(0);

  private final int capacity;
  private final NetworkMemory.Share memory;
  private ByteBuffer bytes = NONE;

  /** Of {@link #bytes}: where its content begins, and its parts end. */
  private int from;

  private int cleared;
  private int seen;
  private int to;

  /**
   * @param capacity in bytes
   * @param memory of which it is
   */
  Backlog(int capacity, NetworkMemory.Share memory) {
    this.capacity = capacity;
    this.memory = memory;
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

  /**
   * Takes all, of what is a window's at most.
   *
   * @return false where there is no memory for that
   */
  boolean add(ByteBuffer more) {
    int length = more.remaining();
    if (bytes.capacity() - to < length && !makeRoom(size() + length)) {
      return false;
    }
    bytes.limit(bytes.capacity()).position(to);
    bytes.put(more);
    to += length;
    return true;
  }

  /** Room for so many bytes, what there is among them. */
  private boolean makeRoom(int needed) {
    bytes.limit(to).position(from);
    if (bytes.capacity() < needed) {
      int size = Math.min(capacity, Math.max(needed, Math.max(SMALLEST, 2 * bytes.capacity())));
      if (!memory.take(size - bytes.capacity())) {
        return false;
      }
      bytes = ByteBuffer.allocate(size).put(bytes);
    } else {
      bytes.compact();
    }
    cleared -= from;
    seen -= from;
    to -= from;
    from = 0;
    return true;
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
      drop();
    }
    return count;
  }

  /** Forgets all. */
  void drop() {
    memory.giveBack(bytes.capacity());
    bytes = NONE;
    from = 0;
    cleared = 0;
    seen = 0;
    to = 0;
  }
}
