// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.UUID;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * One socket: a channel whose packets hold a header, struct vmpipe_proto_header, and bytes; one
 * without bytes is the end of that direction.
 */
final class SocketConnection implements GuestConnection, Channel.Service {
  /** VMBUS_CHANNEL_NAMED_PIPE_MODE and VMBUS_CHANNEL_TLNPI_PROVIDER_OFFER */
  private static final int FLAGS = 0x10 | 0x2000;

  private static final int HEADER = 8;
  private static final int DATA = 1;

  /** The most that is sent in a packet, so that a ring of 20 KiB has room for several. */
  private static final int MOST = 4096;

  /** Room that is left for the end of the output. */
  private static final int END_SPACE = Channel.space(HEADER);

  private final HvSockets owner;
  private final UUID service;
  private final UUID endpoint;
  private final boolean fromHost;
  private final int hostPort;
  private final int guestPort;
  private final Predicate<GuestConnection> onOpen;
  private volatile @Nullable Runnable listener;

  // Guarded by this.
  private @Nullable Channel channel;
  private ByteBuffer current = ByteBuffer.allocate(0);
  private boolean inputEnded;
  private boolean outputEnded;
  private boolean guestGone;
  private boolean machineEnded;
  private boolean closed;

  /**
   * @param service what is connected to: a service of the guest's if {@code fromHost}
   * @param endpoint who connects
   * @param onOpen takes the connection; false if nobody wants it any more
   */
  SocketConnection(
      HvSockets owner,
      UUID service,
      UUID endpoint,
      boolean fromHost,
      int hostPort,
      int guestPort,
      Predicate<GuestConnection> onOpen) {
    this.owner = owner;
    this.service = service;
    this.endpoint = endpoint;
    this.fromHost = fromHost;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
    this.onOpen = onOpen;
  }

  synchronized void offered(Channel itsChannel) {
    channel = itsChannel;
  }

  // ---- the channel's side

  @Override
  public UUID type() {
    return service;
  }

  @Override
  public UUID instance() {
    return endpoint;
  }

  @Override
  public int flags() {
    return FLAGS;
  }

  /** The pipe's mode: bytes; then who connects. */
  @Override
  public void putData(ByteBuffer offer, int at) {
    offer.put(at + 4, (byte) (fromHost ? 1 : 0));
  }

  @Override
  public void opened(Channel itsChannel) {
    if (!onOpen.test(this)) {
      close();
    }
  }

  @Override
  public void signalled(Channel itsChannel) {
    callListener();
  }

  /**
   * Linux does so only when it leaves the bus; it ends a connection when the channel is rescinded.
   */
  @Override
  public void closed(Channel itsChannel) {
    synchronized (this) {
      guestGone = true;
    }
    callListener();
  }

  void machineEnded() {
    synchronized (this) {
      machineEnded = true;
    }
    callListener();
  }

  private void callListener() {
    Runnable current = listener;
    if (current != null) {
      try {
        current.run();
      } catch (RuntimeException | Error e) {
        e.printStackTrace();
        close();
      }
    }
  }

  // ---- the user's side

  /** Takes the next packet with bytes. */
  private boolean next() {
    Channel.Packet packet = channel == null || inputEnded ? null : channel.receive();
    if (packet == null) {
      return false;
    }
    ByteBuffer bytes = packet.bytes();
    int length = bytes.getInt(packet.offset() + 4);
    if (packet.type() != Channel.INBAND || bytes.getInt(packet.offset()) != DATA) {
      throw new IllegalStateException("not a packet of a socket's: " + packet);
    }
    inputEnded = length == 0;
    current = bytes.position(packet.offset() + HEADER).slice().limit(length);
    return !inputEnded;
  }

  @Override
  public synchronized int read(ByteBuffer destination) throws IOException {
    requireOpen();
    int start = destination.position();
    while (destination.hasRemaining() && (current.hasRemaining() || next())) {
      int n = Math.min(destination.remaining(), current.remaining());
      destination.put(current.slice().limit(n));
      current.position(current.position() + n);
    }
    int n = destination.position() - start;
    if (n > 0 || !destination.hasRemaining()) {
      return n;
    }
    if (inputEnded) {
      return -1;
    }
    requirePeer();
    return 0;
  }

  @Override
  public synchronized int write(ByteBuffer source) throws IOException {
    requireOpen();
    if (outputEnded) {
      throw new IOException("the output was shut down by this side");
    }
    requirePeer();
    int start = source.position();
    while (source.hasRemaining()) {
      int n = Math.min(source.remaining(), MOST);
      if (channel == null || !channel.hasRoom(HEADER + n, END_SPACE)) {
        break;
      }
      byte[] packet = packet(n);
      source.get(packet, HEADER, n);
      boolean sent = channel.send(Channel.INBAND, 0, packet);
      assert sent;
    }
    return source.position() - start;
  }

  private static byte[] packet(int length) {
    byte[] packet = new byte[HEADER + length];
    Channel.littleEndian(packet).putInt(DATA).putInt(length);
    return packet;
  }

  @Override
  public synchronized void shutdownOutput() throws IOException {
    requireOpen();
    if (!outputEnded) {
      outputEnded = true;
      if (channel != null) {
        boolean ignored = channel.send(Channel.INBAND, 0, packet(0)); // there is room, or no guest
      }
    }
  }

  private void requireOpen() throws IOException {
    if (closed) {
      throw new IOException("the connection is closed");
    }
  }

  private void requirePeer() throws IOException {
    if (machineEnded || guestGone) {
      throw new IOException(machineEnded ? "the machine has ended" : "the guest has closed it");
    }
  }

  @Override
  public void setEventListener(Runnable itsListener) {
    listener = itsListener;
    owner.bus().execute(this::callListener);
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
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
      listener = null;
      if (!outputEnded && channel != null) {
        boolean ignored = channel.send(Channel.INBAND, 0, packet(0));
      }
    }
    owner.forget(this);
    owner.bus().execute(this::rescind);
  }

  private void rescind() {
    Channel offered;
    synchronized (this) {
      offered = channel;
    }
    if (offered != null) {
      owner.bus().rescind(offered);
    }
  }
}
