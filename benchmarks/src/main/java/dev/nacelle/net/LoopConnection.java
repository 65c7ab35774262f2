// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import org.jspecify.annotations.Nullable;

/**
 * A connection whose guest is at the other end of a socket that the network's own loop waits for,
 * so that no other thread does. On the loop.
 */
final class LoopConnection implements GuestConnection {
  private final NetworkLoop loop;
  private final SocketChannel channel;
  private @Nullable SelectionKey key;

  LoopConnection(NetworkLoop loop, SocketChannel channel) {
    this.loop = loop;
    this.channel = channel;
  }

  @Override
  public int read(ByteBuffer destination) throws IOException {
    want(SelectionKey.OP_READ);
    return channel.read(destination);
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    int count = channel.write(source);
    if (source.hasRemaining()) {
      want(SelectionKey.OP_WRITE);
    }
    return count;
  }

  /** Tells of it once more. */
  private void want(int operation) {
    SelectionKey registered = key;
    if (registered != null && registered.isValid()) {
      registered.interestOpsOr(operation);
    }
  }

  @Override
  public void shutdownOutput() throws IOException {
    channel.shutdownOutput();
  }

  @Override
  public void setEventListener(Runnable listener) {
    try {
      key = loop.register(channel, SelectionKey.OP_READ, new Teller(listener));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    listener.run();
  }

  private record Teller(Runnable listener) implements NetworkLoop.Handler {
    @Override
    public void ready(SelectionKey key) {
      key.interestOpsAnd(~key.readyOps());
      listener.run();
    }

    @Override
    public void faulted() {
      // Its socket is closed, which the link sees when it reads.
      listener.run();
    }
  }

  @Override
  public int guestPort() {
    return 40_000;
  }

  @Override
  public int hostPort() {
    return HostNetwork.PORT;
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
