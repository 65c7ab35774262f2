// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.spi.GuestConnection;
import io.netty.buffer.ByteBuf;
import io.netty.channel.AbstractChannel;
import io.netty.channel.Channel;
import io.netty.channel.ChannelConfig;
import io.netty.channel.ChannelId;
import io.netty.channel.ChannelMetadata;
import io.netty.channel.ChannelOption;
import io.netty.channel.ChannelOutboundBuffer;
import io.netty.channel.ChannelPromise;
import io.netty.channel.DefaultChannelConfig;
import io.netty.channel.EventLoop;
import io.netty.channel.RecvByteBufAllocator.ExtendedHandle;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.util.UncheckedBooleanSupplier;
import java.io.IOException;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.AlreadyConnectedException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ConnectionPendingException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A Netty channel straight over a {@link GuestConnection}: bytes go between the device's buffers
 * and Netty's, with no relay in between.
 *
 * <p>Everything but {@link #onEvent} happens on the event loop. Readiness is edge triggered: the
 * channel reads until there is nothing left, or writes until not everything was taken, and then
 * waits for the next event. The guest ending its output closes the channel, for HTTP/2 has no use
 * for half a connection.
 */
final class GuestChannel extends AbstractChannel {
  /**
   * One read, then other tasks of the event loop: gRPC ends a stream that fails with such a task,
   * and until then adds each of its frames to the words of the failure, copying all of them.
   */
  private static final ChannelMetadata METADATA = new ChannelMetadata(false, 1);

  /**
   * Where HTTP/2 data stops: it has room for the largest message, which else would leave in two
   * frames.
   */
  private static final int HIGH_WATER_MARK = 128 * 1024;

  /** Messages that leave as one: frames with their headers, and what answers the guest's own. */
  private static final int BUFFERS_AT_ONCE = 16;

  /**
   * What may wait for a guest that does not read. HTTP/2 data stops at the high water mark, but a
   * guest can make the host answer (PING, SETTINGS) as often as it likes.
   */
  static final long MAX_OUTBOUND_BYTES = 4 << 20;

  private enum State {
    OPEN,
    CONNECTING,
    ACTIVE,
    CLOSED
  }

  private final ChannelConfig config = new Config(this);
  private final AtomicBoolean eventQueued = new AtomicBoolean();
  private final Runnable eventTask = this::handleEvent;
  private final Runnable readTask = this::continueReading;

  private volatile State state = State.OPEN;
  private volatile @Nullable SocketAddress remoteAddress;
  private @Nullable GuestConnection connection;
  private @Nullable ChannelPromise connectPromise;

  private boolean readRequested;
  private boolean readQueued;
  private boolean reading;

  /** Before it was registered with the event loop, without which it cannot be closed. */
  private boolean brokenOff;

  /** Written on the event loop. */
  private final AtomicLong bytesRead = new AtomicLong();

  /** False from a read that found nothing to the next event. */
  private boolean maybeReadable = true;

  /** True from a write that did not take everything to the next event. */
  private boolean writeBlocked;

  /** A channel that is going to be connected to a {@link GuestAddress}. */
  GuestChannel() {
    super(null);
  }

  /** A channel over a connection that exists. */
  GuestChannel(@Nullable Channel parent, GuestConnection connection, SocketAddress remoteAddress) {
    super(parent);
    this.connection = connection;
    this.remoteAddress = remoteAddress;
    state = State.ACTIVE;
  }

  private void listen(GuestConnection open) {
    open.setEventListener(this::onEvent);
  }

  /** Called by the connection on a thread of the hypervisor. */
  private void onEvent() {
    if (eventQueued.compareAndSet(false, true)) {
      eventLoop().execute(eventTask);
    }
  }

  private void handleEvent() {
    eventQueued.set(false);
    maybeReadable = true;
    continueReading();
    if (writeBlocked) {
      writeBlocked = false;
      ((GuestUnsafe) unsafe()).flush0();
    }
  }

  private void continueReading() {
    readQueued = false;
    if (state == State.ACTIVE && readRequested && maybeReadable && !reading) {
      readAvailable();
    }
  }

  private void readAvailable() {
    ExtendedHandle sizes = (ExtendedHandle) unsafe().recvBufAllocHandle();
    sizes.reset(config);
    boolean ended = false;
    Throwable failure = null;
    reading = true;
    readRequested = false;
    ByteBuf buffer = null;
    try {
      do {
        buffer = sizes.allocate(alloc());
        sizes.attemptedBytesRead(buffer.writableBytes());
        int count = readInto(buffer);
        sizes.lastBytesRead(count);
        if (count <= 0) {
          maybeReadable = false;
          ended = count < 0;
          break;
        }
        sizes.incMessagesRead(1);
        ByteBuf message = buffer;
        buffer = null;
        pipeline().fireChannelRead(message);
      } while (state == State.ACTIVE
          // Also after a short read: only a read of nothing brings the next event.
          && sizes.continueReading(UncheckedBooleanSupplier.TRUE_SUPPLIER));
    } catch (Throwable e) {
      failure = e;
    } finally {
      if (buffer != null) {
        buffer.release();
      }
      reading = false;
    }
    // The next buffer's size: neither the read of nothing that ends each event says what comes, nor
    // the first part of what is longer. By these, buffers would have half of a large frame, and
    // Netty would copy each together again.
    int last = sizes.lastBytesRead();
    if (last > 0 && last < sizes.attemptedBytesRead()) {
      sizes.readComplete();
    }
    // The pipeline asks for more from within this call, which queues another round.
    pipeline().fireChannelReadComplete();
    if (failure != null) {
      pipeline().fireExceptionCaught(failure);
    }
    if (ended || failure != null) {
      unsafe().close(voidPromise());
    }
  }

  /** Closes it, on its event loop, and drops what the guest has not taken. */
  void breakOff() {
    if (isRegistered()) {
      unsafe().close(voidPromise());
    } else {
      brokenOff = true;
    }
  }

  /** How many bytes have come so far. */
  long bytesRead() {
    return bytesRead.get();
  }

  private int readInto(ByteBuf buffer) throws IOException {
    GuestConnection open = connection;
    if (open == null) {
      throw new ClosedChannelException();
    }
    ByteBuffer destination = buffer.internalNioBuffer(buffer.writerIndex(), buffer.writableBytes());
    int count = open.read(destination);
    if (count > 0) {
      buffer.writerIndex(buffer.writerIndex() + count);
      bytesRead.addAndGet(count);
    }
    return count;
  }

  @Override
  protected void doBeginRead() {
    readRequested = true;
    if (maybeReadable && !reading && !readQueued && state == State.ACTIVE) {
      readQueued = true;
      eventLoop().execute(readTask);
    }
  }

  @Override
  protected void doWrite(ChannelOutboundBuffer outbound) throws IOException {
    GuestConnection open = connection;
    if (open == null) {
      throw new ClosedChannelException();
    }
    while (!outbound.isEmpty()) {
      ByteBuffer[] buffers = outbound.nioBuffers(BUFFERS_AT_ONCE, Integer.MAX_VALUE);
      int taken = open.write(buffers, outbound.nioBufferCount());
      // What has no bytes is taken all the same.
      boolean blocked = taken == 0 && outbound.nioBufferSize() > 0;
      outbound.removeBytes(taken);
      if (blocked) {
        writeBlocked = true;
        return;
      }
    }
  }

  @Override
  protected Object filterOutboundMessage(Object message) {
    if (message instanceof ByteBuf) {
      return message;
    }
    throw new UnsupportedOperationException(
        "a guest channel carries bytes, not " + message.getClass().getName());
  }

  /** Not the one with a promise, which only Netty 4.2 has, and which calls this. */
  @Override
  @SuppressWarnings("deprecation")
  protected void doRegister() {
    GuestConnection open = connection;
    if (open != null) {
      listen(open);
    }
    if (brokenOff) {
      eventLoop().execute(this::breakOff);
    }
  }

  @Override
  protected void doClose() {
    state = State.CLOSED;
    ChannelPromise connecting = connectPromise;
    connectPromise = null;
    if (connecting != null) {
      connecting.tryFailure(new ClosedChannelException());
    }
    GuestConnection open = connection;
    connection = null;
    if (open != null) {
      open.close();
    }
  }

  @Override
  protected void doDisconnect() {
    doClose();
  }

  @Override
  protected void doBind(SocketAddress localAddress) {
    throw new UnsupportedOperationException("the guest dials; a guest channel has nothing to bind");
  }

  @Override
  protected ChannelId newId() {
    return new Id(System.identityHashCode(this));
  }

  @Override
  protected AbstractUnsafe newUnsafe() {
    return new GuestUnsafe();
  }

  @Override
  protected boolean isCompatible(EventLoop loop) {
    return true;
  }

  @Override
  protected @Nullable SocketAddress localAddress0() {
    return null;
  }

  @Override
  protected @Nullable SocketAddress remoteAddress0() {
    return remoteAddress;
  }

  @Override
  public ChannelConfig config() {
    return config;
  }

  @Override
  public boolean isOpen() {
    return state != State.CLOSED;
  }

  @Override
  public boolean isActive() {
    return state == State.ACTIVE;
  }

  @Override
  public ChannelMetadata metadata() {
    return METADATA;
  }

  private final class GuestUnsafe extends AbstractUnsafe {
    @Override
    public void connect(
        SocketAddress remote, @Nullable SocketAddress local, ChannelPromise promise) {
      if (!promise.setUncancellable() || !ensureOpen(promise)) {
        return;
      }
      if (state == State.ACTIVE) {
        safeSetFailure(promise, new AlreadyConnectedException());
        return;
      }
      if (state == State.CONNECTING) {
        throw new ConnectionPendingException();
      }
      if (!(remote instanceof GuestAddress address)) {
        safeSetFailure(promise, new UnsupportedOperationException("not a guest: " + remote));
        closeIfClosed();
        return;
      }
      state = State.CONNECTING;
      connectPromise = promise;
      remoteAddress = remote;
      var unused =
          address
              .take()
              .whenComplete(
                  (dialled, failure) -> eventLoop().execute(() -> finishConnect(dialled, failure)));
    }

    private void finishConnect(@Nullable GuestConnection dialled, @Nullable Throwable failure) {
      ChannelPromise promise = connectPromise;
      connectPromise = null;
      if (dialled == null || promise == null) {
        if (dialled != null) {
          dialled.close();
        }
        if (promise != null) {
          promise.tryFailure(failure == null ? new ClosedChannelException() : failure);
          close(voidPromise());
        }
        return;
      }
      connection = dialled;
      state = State.ACTIVE;
      promise.trySuccess();
      pipeline().fireChannelActive();
      if (isActive()) {
        listen(dialled);
      }
    }

    @Override
    protected void flush0() {
      if (!writeBlocked) {
        super.flush0();
      }
      ChannelOutboundBuffer outbound = outboundBuffer();
      if (writeBlocked
          && outbound != null
          && outbound.totalPendingWriteBytes() > MAX_OUTBOUND_BYTES) {
        handleWriteError(
            new IOException(
                "the guest does not read: more than " + MAX_OUTBOUND_BYTES + " bytes wait for it"));
      }
    }
  }

  /**
   * Only for log messages. Netty's own identifiers are unique in the world, for which it looks for
   * the host's network card, and warns where there is none.
   */
  private record Id(int number) implements ChannelId {
    @Override
    public String asShortText() {
      return Integer.toHexString(number);
    }

    @Override
    public String asLongText() {
      return asShortText();
    }

    @Override
    public int compareTo(ChannelId other) {
      return asLongText().compareTo(other.asLongText());
    }
  }

  private static final class Config extends DefaultChannelConfig {
    Config(Channel channel) {
      super(channel);
      setWriteBufferWaterMark(new WriteBufferWaterMark(HIGH_WATER_MARK / 2, HIGH_WATER_MARK));
    }

    /** Accepts what gRPC sets on every channel and what means nothing between host and guest. */
    @Override
    public <T> boolean setOption(ChannelOption<T> option, T value) {
      return option.equals(ChannelOption.SO_KEEPALIVE) || super.setOption(option, value);
    }
  }
}
