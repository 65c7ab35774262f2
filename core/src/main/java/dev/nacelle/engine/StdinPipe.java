// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.agent.AgentProcess;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A process's stdin for a thread that writes and may wait. */
final class StdinPipe extends OutputStream {
  private final AgentProcess process;
  private boolean closed;
  private boolean ended;
  private @Nullable Supplier<GuestIOException> failure;

  /**
   * @param closed whether the process reads something else, which nothing done here ends
   */
  StdinPipe(AgentProcess process, boolean closed) {
    this.process = process;
    this.closed = closed;
  }

  /** The process has become writable. */
  synchronized void onWritable() {
    notifyAll();
  }

  /**
   * The process has ended.
   *
   * @param why makes what a writer is then told, on its thread, where it may wait; null where the
   *     process has ended by itself
   */
  synchronized void end(@Nullable Supplier<GuestIOException> why) {
    if (!ended) {
      ended = true;
      failure = why;
      notifyAll();
    }
  }

  synchronized boolean hasEnded() {
    return ended;
  }

  @Override
  public void write(int oneByte) throws IOException {
    write(new byte[] {(byte) oneByte}, 0, 1);
  }

  @Override
  public void write(byte[] bytes, int offset, int length) throws IOException {
    Supplier<GuestIOException> why = writeUntilEnd(bytes, offset, length);
    if (why != null) {
      throw why.get();
    }
  }

  /** Returns what makes the failure when not all was written. */
  private synchronized @Nullable Supplier<GuestIOException> writeUntilEnd(
      byte[] bytes, int offset, int length) throws IOException {
    ByteBuffer left = ByteBuffer.wrap(bytes, offset, length);
    while (left.hasRemaining()) {
      while (!closed && !ended && !process.isWritable()) {
        awaitChange();
      }
      if (closed) {
        throw new GuestIOException("stdin is closed");
      }
      int chunk = Math.min(left.remaining(), AgentProcess.STDIN_CHUNK);
      if (ended || !process.write(left.slice(left.position(), chunk))) {
        awaitEnd();
        return failure == null ? () -> new GuestIOException("the process has ended") : failure;
      }
      left.position(left.position() + chunk);
    }
    return null;
  }

  /** That nothing can be written is known a moment before the reason. */
  private synchronized void awaitEnd() throws IOException {
    while (!closed && !ended) {
      awaitChange();
    }
  }

  /** Returns when something may have changed, or for no reason: for a loop. */
  @SuppressWarnings("WaitNotInLoop")
  private synchronized void awaitChange() throws InterruptedIOException {
    try {
      wait();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while writing to a process's stdin");
    }
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      process.closeStdin();
      notifyAll();
    }
  }
}
