// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.peers;

import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A stream to a guest, as its monitor or the host's kernel hands it on. */
final class MonitorConnection implements GuestConnection {
  private final SocketLoop loop;
  private final HostSocket socket;
  private final int hostPort;
  private final int guestPort;
  private final BooleanSupplier machineHasEnded;
  private final Consumer<MonitorConnection> onClose;
  private long key;
  private volatile @Nullable Runnable listener;

  /**
   * @param onClose called once, when it is closed
   */
  MonitorConnection(
      SocketLoop loop,
      HostSocket socket,
      int hostPort,
      int guestPort,
      BooleanSupplier machineHasEnded,
      Consumer<MonitorConnection> onClose) {
    this.loop = loop;
    this.socket = socket;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
    this.machineHasEnded = machineHasEnded;
    this.onClose = onClose;
  }

  /** Has it told of events, from those that came before on. */
  void open() throws IOException {
    key = loop.add(socket, this::tell);
  }

  /** Takes over a socket's place in the loop, where it was asked for by another. */
  void adopt(long key) {
    this.key = key;
    loop.handle(key, this::tell);
  }

  @Override
  public int read(ByteBuffer destination) throws IOException {
    int n;
    try {
      n = socket.read(destination);
    } catch (IOException e) {
      throw broken(e);
    }
    if (n < 0 && machineHasEnded.getAsBoolean()) {
      throw new GuestLostException("the machine has ended");
    }
    return n;
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    try {
      return socket.write(source);
    } catch (IOException e) {
      throw broken(e);
    }
  }

  private IOException broken(IOException failure) {
    if (!machineHasEnded.getAsBoolean()) {
      return failure;
    }
    GuestLostException lost = new GuestLostException("the machine has ended");
    lost.initCause(failure);
    return lost;
  }

  @Override
  public void shutdownOutput() throws IOException {
    socket.shutdownOutput();
  }

  @Override
  public void setEventListener(Runnable listener) {
    this.listener = listener;
    loop.execute(this::tell);
  }

  private void tell() {
    Runnable current = listener;
    if (current != null) {
      current.run();
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
    loop.forget(key);
    listener = null;
    socket.close();
    onClose.accept(this);
  }

  /** The machine has ended: whoever waits for an event is told, and finds that out. */
  void ended() {
    loop.execute(this::tell);
  }
}
