// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * Memory that the networks of one loop share, so that one where nothing passes has none. Made when
 * it is first needed, outside the heap unless there is no more of that. On the loop.
 */
class LoopBuffers {
  /** Of what is received of a guest at a time. */
  static final int RECEIVED_BYTES = 128 << 10;

  /** Of what waits for a guest. */
  static final int SENT_BYTES = 384 << 10;

  /** Those that are kept when nothing waits for a guest; more are made as there is need. */
  private static final int MOST_KEPT = 8;

  private @Nullable ByteBuffer received;
  private @Nullable ByteBuffer datagram;
  private final Deque<ByteBuffer> kept = new ArrayDeque<>();

  /** For what is received of a guest, until that was taken. Empty. */
  ByteBuffer received() {
    ByteBuffer buffer = received;
    if (buffer == null) {
      buffer = allocate(RECEIVED_BYTES);
      received = buffer;
    }
    return buffer.clear();
  }

  /** For one datagram, until that was sent. Empty. */
  ByteBuffer datagram() {
    ByteBuffer buffer = datagram;
    if (buffer == null) {
      buffer = allocate(Frames.MAX_DATA);
      datagram = buffer;
    }
    return buffer.clear();
  }

  /** For what waits for a guest, until it is given back. Empty. */
  ByteBuffer take() {
    ByteBuffer buffer = kept.poll();
    return buffer == null ? allocate(SENT_BYTES) : buffer.clear();
  }

  void giveBack(ByteBuffer buffer) {
    if (kept.size() >= MOST_KEPT) {
      return;
    }
    // Those outside the heap are taken first, since sockets take them without a copy.
    if (buffer.isDirect()) {
      kept.addFirst(buffer);
    } else {
      kept.addLast(buffer);
    }
  }

  private ByteBuffer allocate(int bytes) {
    try {
      return allocateDirect(bytes);
    } catch (OutOfMemoryError e) {
      // As many stalled guests as there is memory for (-XX:MaxDirectMemorySize).
      return ByteBuffer.allocate(bytes);
    }
  }

  /** Memory outside the heap. */
  ByteBuffer allocateDirect(int bytes) {
    return ByteBuffer.allocateDirect(bytes);
  }
}
