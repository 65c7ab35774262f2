// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Cidr;
import dev.nacelle.internal.check.Ip;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Transport;
import java.io.Closeable;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.BindException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.SelectableChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A sandbox's published ports: sockets of the host's on which others are waited for. Who comes
 * before the guest has its network waits; who comes after it has lost it is sent away. Made on any
 * thread, used on the loop, closed there or before that.
 */
final class Publisher implements Closeable {
  /** How the guest sees whose address it is not told: its gateway, from ever another port. */
  private static final Ip GATEWAY = Ip.v4(198 << 24 | 18 << 16 | 1);

  private static final int FIRST_PORT = 1024;
  private static final int LAST_PORT = 65_535;

  /** Connections or datagrams at a time, so that others get their turn. */
  private static final int TURN = 16;

  /** Connections that wait for the guest at a time, of one port. */
  private static final int MAX_PENDING = 64;

  private static final List<Cidr> NOBODYS =
      List.of(
          Cidr.parse("127.0.0.0/8"),
          Cidr.parse("::1/128"),
          Cidr.parse("198.18.0.0/15"),
          Cidr.parse("fd6e:6163:656c::/64"));

  private final Map<PublishedPort, InetSocketAddress> addresses = new LinkedHashMap<>();
  private final List<Port<?>> ports = new ArrayList<>();
  private int nextPort = FIRST_PORT;

  /**
   * Opens all of them.
   *
   * @throws IOException when one cannot be had, which it names; then none is open
   */
  Publisher(List<PublishedPort> published) throws IOException {
    for (PublishedPort port : published) {
      try {
        Port<?> opened = port.transport() == Transport.TCP ? new TcpPort(port) : new UdpPort(port);
        ports.add(opened);
        addresses.put(port, opened.address());
      } catch (IOException e) {
        close();
        BindException named =
            new BindException("port " + port + " cannot be published: " + e.getMessage());
        named.initCause(e);
        throw named;
      }
    }
  }

  /** Where they are. */
  Map<PublishedPort, InetSocketAddress> addresses() {
    return addresses;
  }

  /** Takes who comes from now on, and sends it to the guest. On the loop. */
  void begin(NetworkLoop loop, Acceptor acceptor) {
    for (Port<?> port : ports) {
      try {
        port.begin(loop, acceptor);
      } catch (IOException e) {
        logger().log(Level.WARNING, "published port " + port.published + " takes nobody", e);
      }
    }
  }

  /** One more waits for the guest's answer. */
  void asked(PublishedPort port) {
    countPending(port, 1);
  }

  /** It is not waited for any more. */
  void answered(PublishedPort port) {
    countPending(port, -1);
  }

  private void countPending(PublishedPort port, int change) {
    for (Port<?> each : ports) {
      if (each.published.equals(port)) {
        each.pending += change;
      }
    }
  }

  @Override
  public void close() {
    ports.forEach(Port::close);
  }

  private static InetSocketAddress bindTo(PublishedPort port) throws IOException {
    InetAddress address =
        port.address().orElse(InetAddress.getByAddress(new byte[] {127, 0, 0, 1}));
    return new InetSocketAddress(address, port.hostPort());
  }

  /** As whom the guest sees somebody. */
  private Place seen(PublishedPort port, InetSocketAddress peer, boolean ipv6) {
    Ip address = Ip.of(peer.getAddress());
    boolean isTold =
        port.keepsPeerAddress()
            && (ipv6 || !address.v6())
            && NOBODYS.stream().noneMatch(block -> block.contains(address));
    if (isTold) {
      return new Place(address, peer.getPort(), port.guestPort());
    }
    return gateway(port.guestPort());
  }

  /** As whom the guest sees who is not told. On the loop. */
  Place gateway(int guestPort) {
    int number = nextPort;
    nextPort = number == LAST_PORT ? FIRST_PORT : number + 1;
    return new Place(GATEWAY, number, guestPort);
  }

  private abstract static class Port<C extends SelectableChannel & NetworkChannel>
      implements NetworkLoop.Handler {
    final PublishedPort published;
    final C channel;
    private final int operation;
    private @Nullable Acceptor acceptor;
    private boolean failed;
    int pending;

    /**
     * @param channel is closed where it cannot be bound
     * @param operation that tells that somebody has come
     */
    Port(PublishedPort published, C channel, int operation) throws IOException {
      this.published = published;
      this.channel = channel;
      this.operation = operation;
      try {
        channel.bind(bindTo(published));
      } catch (IOException | RuntimeException e) {
        channel.close();
        throw e;
      }
    }

    final InetSocketAddress address() throws IOException {
      return (InetSocketAddress) channel.getLocalAddress();
    }

    final void begin(NetworkLoop loop, Acceptor guest) throws IOException {
      acceptor = guest;
      loop.register(channel, operation, this);
    }

    /** Takes those who have come. */
    abstract void serve(Acceptor guest, SelectionKey key);

    @Override
    public final void ready(SelectionKey key) {
      Acceptor guest = acceptor;
      if (guest == null) {
        return;
      }
      try {
        try {
          serve(guest, key);
        } finally {
          guest.flush();
        }
        failed = false;
      } catch (RuntimeException | Error e) {
        // Who came is lost. Others are taken, though not at once: it may fail again.
        pause(guest, key);
        logger()
            .log(
                failed ? Level.DEBUG : Level.ERROR,
                "published port " + published + " has lost somebody who came; it goes on",
                e);
        failed = true;
      }
    }

    final void pause(Acceptor guest, SelectionKey key) {
      guest.later(this::listenAgain);
      key.interestOps(0);
    }

    private void listenAgain(NetworkLoop loop) {
      SelectionKey key = loop.keyOf(channel);
      if (key != null && key.isValid()) {
        key.interestOps(operation);
      }
    }

    @Override
    public final void faulted() {
      logger().log(Level.ERROR, "published port " + published + " is closed");
    }

    final void close() {
      Sockets.close(channel);
    }
  }

  private final class TcpPort extends Port<ServerSocketChannel> {
    TcpPort(PublishedPort published) throws IOException {
      super(published, ServerSocketChannel.open(), SelectionKey.OP_ACCEPT);
    }

    @Override
    void serve(Acceptor guest, SelectionKey key) {
      try {
        for (int i = 0; i < TURN; i++) {
          SocketChannel peer = channel.accept();
          if (peer == null) {
            break;
          }
          take(guest, peer);
        }
      } catch (IOException e) {
        pause(guest, key);
        guest.cannotTake();
      }
    }

    private void take(Acceptor guest, SocketChannel peer) {
      boolean taken = false;
      try {
        if (pending < MAX_PENDING) {
          InetSocketAddress address = (InetSocketAddress) peer.getRemoteAddress();
          taken = guest.accept(peer, published, address, seen(published, address, guest.ipv6()));
        } else {
          guest.limited();
        }
      } catch (IOException e) {
        logger().log(Level.DEBUG, "a peer was gone before it was taken", e);
      } finally {
        if (!taken) {
          Sockets.reset(peer);
        }
      }
    }
  }

  private final class UdpPort extends Port<DatagramChannel> {
    private final Map<InetSocketAddress, UdpSessions.Session> sessions = new HashMap<>();

    UdpPort(PublishedPort published) throws IOException {
      super(published, DatagramChannel.open(), SelectionKey.OP_READ);
    }

    @Override
    void serve(Acceptor guest, SelectionKey key) {
      try {
        for (int i = 0; i < TURN; i++) {
          ByteBuffer buffer = guest.buffers().datagram();
          InetSocketAddress peer = (InetSocketAddress) channel.receive(buffer);
          if (peer == null) {
            break;
          }
          UdpSessions.Session session = sessions.get(peer);
          if (session == null) {
            session =
                guest.acceptDatagrams(
                    channel,
                    published,
                    peer,
                    seen(published, peer, guest.ipv6()),
                    () -> sessions.remove(peer));
            if (session == null) {
              continue;
            }
            sessions.put(peer, session);
          }
          session.received(buffer.flip());
        }
      } catch (IOException e) {
        logger().log(Level.DEBUG, "a datagram was not read", e);
      }
    }
  }

  private static System.Logger logger() {
    return System.getLogger(Publisher.class.getName());
  }
}
