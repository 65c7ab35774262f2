// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.hyperv.sys.HvSocket;
import dev.nacelle.hyperv.sys.WinsockException;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * A stream between host and guest: a socket, whose events its machine's {@link GuestSockets} hands
 * on. What is on its way is kept by Windows, in buffers of bounded size.
 */
final class HvConnection implements GuestConnection {
  /** The most that a packet of VMBus carries of a stream. */
  private static final int COPIED = 16 * 1024;

  private final GuestSockets owner;
  private final HvSocket socket;
  private final int hostPort;
  private final int guestPort;

  /** The listener is to be called. */
  private final AtomicBoolean due = new AtomicBoolean();

  private final AtomicBoolean closed = new AtomicBoolean();
  private volatile @Nullable Runnable listener;
  private volatile boolean outputEnded;

  // Windows takes memory outside of the heap: what is in the heap goes through these, one for each
  // of the two threads.
  private @Nullable ByteBuffer reading;
  private @Nullable ByteBuffer writing;

  /** The reader was told the end, and is told it again. */
  private boolean inputEnded;

  HvConnection(GuestSockets owner, HvSocket socket, int hostPort, int guestPort) {
    this.owner = owner;
    this.socket = socket;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
  }

  @Override
  public int read(ByteBuffer destination) throws IOException {
    requireOpen();
    if (inputEnded) {
      return -1;
    }
    if (!destination.hasRemaining()) {
      return 0;
    }
    // Before it is read: what was there when the machine ended comes first.
    boolean ended = owner.hasEnded();
    int n;
    try {
      n = destination.isDirect() ? socket.read(destination) : readCopying(destination);
    } catch (WinsockException e) {
      throw broken(e);
    }
    if (n <= 0 && ended) {
      throw owner.endOfMachine();
    }
    inputEnded = n < 0;
    return n;
  }

  private int readCopying(ByteBuffer destination) throws WinsockException {
    ByteBuffer buffer = reading;
    if (buffer == null) {
      buffer = ByteBuffer.allocateDirect(COPIED);
      reading = buffer;
    }
    int n = socket.read(buffer.clear().limit(Math.min(COPIED, destination.remaining())));
    destination.put(buffer.flip());
    return n;
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    requireOpen();
    if (outputEnded) {
      throw new IOException("the output was shut down by this side");
    }
    if (owner.hasEnded()) {
      throw owner.endOfMachine();
    }
    int start = source.position();
    // Until none are taken: only then does Windows tell when there is room.
    while (source.hasRemaining()) {
      int n;
      try {
        n = source.isDirect() ? socket.write(source) : writeCopying(source);
      } catch (WinsockException e) {
        throw broken(e);
      }
      if (n == 0) {
        break;
      }
    }
    return source.position() - start;
  }

  private int writeCopying(ByteBuffer source) throws WinsockException {
    ByteBuffer buffer = writing;
    if (buffer == null) {
      buffer = ByteBuffer.allocateDirect(COPIED);
      writing = buffer;
    }
    int start = source.position();
    ByteBuffer part = source.duplicate();
    buffer.clear().put(part.limit(start + Math.min(COPIED, source.remaining()))).flip();
    int n = socket.write(buffer);
    source.position(start + n);
    return n;
  }

  @Override
  public void shutdownOutput() throws IOException {
    requireOpen();
    if (!outputEnded) {
      outputEnded = true;
      if (!owner.hasEnded()) {
        try {
          socket.shutdownOutput();
        } catch (WinsockException e) {
          throw broken(e);
        }
      }
    }
  }

  /** Connections of a machine that ends are reset, which may be seen before or after its end. */
  private IOException broken(WinsockException failure) {
    if (!owner.hasEnded()) {
      return failure;
    }
    IOException lost = owner.endOfMachine();
    lost.initCause(failure);
    return lost;
  }

  private void requireOpen() throws IOException {
    if (closed.get()) {
      throw new IOException("the connection is closed");
    }
  }

  @Override
  public void setEventListener(Runnable listener) {
    this.listener = listener;
    due.set(true);
    owner.deliver(this);
  }

  /** On the loop: whether something happened to the socket is asked, and told to the user. */
  void look() {
    try {
      if (socket.events().flags() != 0) {
        due.set(true);
      }
    } catch (WinsockException e) {
      // Reading and writing tell of it.
      due.set(true);
    }
    callListener();
  }

  /** The machine has ended. */
  void ended() {
    due.set(true);
  }

  void callListener() {
    Runnable current = listener;
    if (current == null || closed.get() || !due.getAndSet(false)) {
      return;
    }
    try {
      current.run();
    } catch (RuntimeException | Error e) {
      close();
      System.getLogger(HvConnection.class.getName())
          .log(Level.WARNING, "a listener failed; " + this + " is closed", e);
    }
  }

  @Override
  public int guestPort() {
    return guestPort;
  }

  @Override
  public int hostPort() {
    return hostPort;
  }

  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      listener = null;
      // What was written goes on its way all the same.
      socket.close();
      owner.forget(this);
    }
  }

  /** The machine is closed: there is nothing to read from any more, and its user is told. */
  void release() {
    socket.close();
    due.set(true);
    callListener();
  }

  @Override
  public String toString() {
    return "hv_sock host:"
        + Integer.toUnsignedString(hostPort)
        + " guest:"
        + Integer.toUnsignedString(guestPort);
  }
}
