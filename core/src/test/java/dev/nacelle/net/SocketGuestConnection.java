// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.CancelledKeyException;
import java.nio.channels.ClosedSelectorException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;

/** A connection whose guest is at the other end of a socket. */
final class SocketGuestConnection implements GuestConnection {
  private final SocketChannel channel;
  private final Selector selector;
  private final SelectionKey key;
  private volatile boolean closed;

  SocketGuestConnection(SocketChannel channel) throws IOException {
    this.channel = channel;
    selector = Selector.open();
    channel.configureBlocking(false);
    key = channel.register(selector, SelectionKey.OP_READ);
  }

  @Override
  public int read(ByteBuffer destination) throws IOException {
    int count = channel.read(destination);
    if (count == 0 && !closed) {
      key.interestOpsOr(SelectionKey.OP_READ);
      selector.wakeup();
    }
    return count;
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    int count = channel.write(source);
    if (source.hasRemaining() && !closed) {
      key.interestOpsOr(SelectionKey.OP_WRITE);
      selector.wakeup();
    }
    return count;
  }

  @Override
  public void shutdownOutput() throws IOException {
    channel.shutdownOutput();
  }

  @Override
  public void setEventListener(Runnable listener) {
    Thread thread =
        new Thread(
            () -> {
              listener.run();
              while (!closed) {
                try {
                  selector.select(ready -> ready.interestOpsAnd(~ready.readyOps()));
                } catch (CancelledKeyException | ClosedSelectorException e) {
                  break; // it was closed meanwhile
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
                listener.run();
              }
            },
            "guest-connection");
    thread.setDaemon(true);
    thread.start();
  }

  @Override
  public int guestPort() {
    return 40_000;
  }

  @Override
  public int hostPort() {
    return 1025;
  }

  @Override
  public void close() {
    closed = true;
    try {
      channel.close();
      selector.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
