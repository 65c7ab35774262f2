// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.GuestSocket;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.internal.BlockInputStream;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;

/**
 * A connection to the guest for threads that wait. The monitor of each stream is held while bytes
 * are taken or given, which never blocks, and let go of while there is nothing to do: so no event
 * gets lost between an attempt and the wait for the next, and the hypervisor's thread, which tells
 * of events, is never held up.
 */
final class OpenSocket implements GuestSocket {
  private final GuestConnection connection;
  private final GuestCalls calls;
  private final CompletableFuture<Void> ended;
  private final Input input = new Input();
  private final Output output = new Output();
  private volatile boolean closed;

  /**
   * @param ended completed when the connection is closed, or found broken
   */
  OpenSocket(GuestConnection connection, GuestCalls calls, CompletableFuture<Void> ended) {
    this.connection = connection;
    this.calls = calls;
    this.ended = ended;
    connection.setEventListener(this::wakeAll);
  }

  private void wakeAll() {
    synchronized (input) {
      input.notifyAll();
    }
    synchronized (output) {
      output.notifyAll();
    }
  }

  private void requireOpen() throws GuestIOException {
    if (closed) {
      throw new GuestIOException("the connection is closed");
    }
  }

  /** Waits, without a lock, for the sandbox's end to be told where it is about to end. */
  private GuestIOException broken(IOException cause) {
    if (calls.endedBy(cause)) {
      SandboxEndedException end = calls.endedException(cause);
      return new GuestIOException(String.valueOf(end.getMessage()), end);
    }
    return new GuestIOException(
        "the connection to " + this + " broke: " + cause.getMessage(), cause);
  }

  private InterruptedIOException interrupted(String doing, int transferred) {
    Thread.currentThread().interrupt();
    InterruptedIOException e = new InterruptedIOException("interrupted while " + doing + this);
    e.bytesTransferred = transferred;
    return e;
  }

  @Override
  public int port() {
    return connection.guestPort();
  }

  @Override
  public InputStream input() {
    return input;
  }

  @Override
  public OutputStream output() {
    return output;
  }

  @Override
  public void close() {
    closed = true;
    connection.close();
    wakeAll();
    ended.complete(null);
  }

  @Override
  public String toString() {
    return "port " + Integer.toUnsignedString(port()) + " of the guest";
  }

  /** The connection broke; for within this class. */
  private static final class Broken extends Exception {
    private static final long serialVersionUID = 1L;

    final IOException why;

    Broken(IOException why) {
      super(null, why, false, false);
      this.why = why;
    }
  }

  private final class Input extends BlockInputStream {
    @Override
    public int read(byte[] target, int offset, int length) throws IOException {
      try {
        return take(ByteBuffer.wrap(target, offset, length));
      } catch (Broken e) {
        // Nothing more comes, and what is written goes nowhere.
        ended.complete(null);
        throw broken(e.why);
      }
    }

    private synchronized int take(ByteBuffer room) throws Broken, IOException {
      while (room.hasRemaining()) {
        requireOpen();
        int count;
        try {
          count = connection.read(room);
        } catch (IOException e) {
          throw new Broken(e);
        }
        if (count != 0) {
          return count;
        }
        try {
          wait();
        } catch (InterruptedException e) {
          throw interrupted("reading from ", 0);
        }
      }
      return 0;
    }
  }

  private final class Output extends OutputStream {
    private boolean shutDown;

    @Override
    public void write(int oneByte) throws IOException {
      write(new byte[] {(byte) oneByte}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      try {
        give(ByteBuffer.wrap(bytes, offset, length));
      } catch (Broken e) {
        throw broken(e.why);
      }
    }

    private synchronized void give(ByteBuffer left) throws Broken, IOException {
      int offset = left.position();
      while (left.hasRemaining()) {
        requireOpen();
        if (shutDown) {
          throw new GuestIOException("the output is closed");
        }
        try {
          connection.write(left);
        } catch (IOException e) {
          throw new Broken(e);
        }
        if (left.hasRemaining()) {
          try {
            wait();
          } catch (InterruptedException e) {
            throw interrupted("writing to ", left.position() - offset);
          }
        }
      }
    }

    @Override
    public synchronized void close() {
      if (!shutDown) {
        shutDown = true;
        notifyAll();
        try {
          connection.shutdownOutput();
        } catch (IOException e) {
          // The connection has ended, and its output with it.
        }
      }
    }
  }
}
