// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.agent.AgentProcess;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;

/** A process's stdin for a thread that writes and may wait. */
final class StdinPipe extends OutputStream {
  private final AgentProcess process;
  private boolean closed;
  private boolean ended;

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

  /** The process has ended. */
  synchronized void end() {
    ended = true;
    notifyAll();
  }

  synchronized boolean hasEnded() {
    return ended;
  }

  @Override
  public void write(int oneByte) throws IOException {
    write(new byte[] {(byte) oneByte}, 0, 1);
  }

  @Override
  public synchronized void write(byte[] bytes, int offset, int length) throws IOException {
    ByteBuffer left = ByteBuffer.wrap(bytes, offset, length);
    while (left.hasRemaining()) {
      while (!closed && !ended && !process.isWritable()) {
        try {
          wait();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          throw new InterruptedIOException("interrupted while writing to a process's stdin");
        }
      }
      if (closed) {
        throw new GuestIOException("stdin is closed");
      }
      int chunk = Math.min(left.remaining(), AgentProcess.STDIN_CHUNK);
      if (ended || !process.write(left.slice(left.position(), chunk))) {
        throw new GuestIOException("the process has ended");
      }
      left.position(left.position() + chunk);
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
