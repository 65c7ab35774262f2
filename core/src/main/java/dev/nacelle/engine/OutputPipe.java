// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.internal.BlockInputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** One output of a process, between the event loop that brings it and the thread that reads it. */
final class OutputPipe extends BlockInputStream {
  /** From here on the process is made to wait, until half of it was read. */
  static final int CAPACITY = 256 * 1024;

  /**
   * What a chunk takes beside its bytes, with the objects around them and its place in the queue:
   * about 110 bytes on a 64-bit JVM.
   */
  private static final int CHUNK_OVERHEAD = 128;

  private final Runnable onRoom;
  private final Deque<ByteBuffer> chunks = new ArrayDeque<>();
  private int buffered;
  private boolean ended;
  private boolean closed;
  private @Nullable Supplier<GuestIOException> failure;

  /**
   * @param onRoom called by the reader when at most half of the pipe is taken
   */
  OutputPipe(Runnable onRoom) {
    this.onRoom = onRoom;
  }

  synchronized void add(ByteBuffer bytes) {
    if (!closed) {
      chunks.add(bytes);
      buffered += bytes.remaining();
      notifyAll();
    }
  }

  synchronized boolean isFull() {
    return taken() >= CAPACITY;
  }

  private synchronized int taken() {
    return buffered + chunks.size() * CHUNK_OVERHEAD;
  }

  /**
   * Nothing more comes; what is there can still be read.
   *
   * @param why makes what a reader is then told, on its thread, where it may wait; null for the end
   */
  synchronized void end(@Nullable Supplier<GuestIOException> why) {
    ended = true;
    failure = why;
    notifyAll();
  }

  @Override
  public int read(byte[] target, int offset, int length) throws IOException {
    java.util.Objects.checkFromIndexSize(offset, length, target.length);
    if (length == 0) {
      return 0;
    }
    int count = 0;
    boolean hasRoom = false;
    Supplier<GuestIOException> why = null;
    synchronized (this) {
      while (chunks.isEmpty() && !ended && !closed) {
        try {
          wait();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new InterruptedIOException("interrupted while reading a process's output");
        }
      }
      if (closed) {
        throw new GuestIOException("the stream is closed");
      }
      ByteBuffer first = chunks.peek();
      if (first == null) {
        why = failure;
        if (why == null) {
          return -1;
        }
      } else {
        count = Math.min(length, first.remaining());
        first.get(target, offset, count);
        if (!first.hasRemaining()) {
          chunks.remove();
        }
        buffered -= count;
        // Not for each chunk: the process's turns and the reader's would be as many.
        hasRoom = taken() <= CAPACITY / 2;
      }
    }
    if (why != null) {
      throw why.get();
    }
    if (hasRoom) {
      onRoom.run();
    }
    return count;
  }

  @Override
  public synchronized int available() {
    return closed ? 0 : buffered;
  }

  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      chunks.clear();
      buffered = 0;
      notifyAll();
    }
    onRoom.run();
  }
}
