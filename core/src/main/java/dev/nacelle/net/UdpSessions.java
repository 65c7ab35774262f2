// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.Limit;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The UDP of one sandbox: a socket of the host's for each port of the guest's and address that it
 * sends to, until nothing was sent either way for a minute. On the loop.
 */
final class UdpSessions {
  static final Duration IDLE = Duration.ofSeconds(60);
  private static final Duration SWEEP = Duration.ofSeconds(10);

  /** Datagrams of one session at a time, so that others get their turn. */
  private static final int READS = 16;

  private final NetworkLoop loop;
  private final FlowTable table;
  private final Map<Place, Session> sessions = new HashMap<>();
  private NetworkLoop.@Nullable Timer sweep;

  UdpSessions(NetworkLoop loop, FlowTable table) {
    this.loop = loop;
    this.table = table;
  }

  int size() {
    return sessions.size();
  }

  @Nullable Session find(Place place) {
    return sessions.get(place);
  }

  /**
   * Begins one of somebody who has sent a datagram to a published port.
   *
   * @param channel the port's
   * @param onEnd is run when it is over
   */
  Session accept(
      Place place, FlowInfo info, DatagramChannel channel, SocketAddress peer, Runnable onEnd) {
    return keep(new Session(place, info, channel, peer, onEnd));
  }

  /**
   * Begins one of the guest's.
   *
   * @throws IOException when the host gives no socket, or has no way there
   */
  Session open(Place place, FlowInfo info, InetSocketAddress target) throws IOException {
    DatagramChannel channel;
    try {
      channel = DatagramChannel.open();
    } catch (IOException e) {
      // The host has no descriptor left, most of all.
      table.journal().events().limit(Limit.HOST_DESCRIPTORS);
      throw e;
    }
    try {
      Session session = new Session(place, info, channel, null, () -> Sockets.close(channel));
      channel.configureBlocking(false);
      channel.connect(target);
      loop.register(channel, SelectionKey.OP_READ, session);
      return keep(session);
    } catch (IOException | RuntimeException | Error e) {
      channel.close();
      throw e;
    }
  }

  private Session keep(Session session) {
    Session before = sessions.put(session.place, session);
    if (before != null) {
      before.end(End.FINISHED);
    }
    if (sweep == null) {
      sweep = loop.schedule(this::sweep, SWEEP);
    }
    return session;
  }

  private void sweep() {
    long now = loop.now();
    try {
      for (Session session : all()) {
        if (now - session.lastUsed >= IDLE.toNanos()) {
          session.end(End.FINISHED);
        }
      }
    } finally {
      sweep = sessions.isEmpty() ? null : loop.schedule(this::sweep, SWEEP);
    }
  }

  /** Those that there are now. */
  List<Session> all() {
    return new ArrayList<>(sessions.values());
  }

  void endAll(End how) {
    all().forEach(session -> session.end(how));
    if (sweep != null) {
      sweep.cancel();
      sweep = null;
    }
  }

  /** One peer of one port of the guest's. */
  final class Session implements NetworkLoop.Handler {
    private final Place place;
    private final FlowInfo info;
    private final DatagramChannel channel;
    private final @Nullable SocketAddress peer;
    private final Runnable onEnd;
    private long lastUsed = loop.now();
    private long sent;
    private long received;

    /**
     * @param peer null of a channel that is connected
     */
    private Session(
        Place place,
        FlowInfo info,
        DatagramChannel channel,
        @Nullable SocketAddress peer,
        Runnable onEnd) {
      this.place = place;
      this.info = info;
      this.channel = channel;
      this.peer = peer;
      this.onEnd = onEnd;
    }

    /** Sends what the guest has sent; what the host does not take is lost, as on any network. */
    void send(ByteBuffer datagram) {
      lastUsed = loop.now();
      int length = datagram.remaining();
      try {
        if (table.egress().left() > 0 && sendToPeer(datagram) == length) {
          sent += length;
          table.egress().use(length);
          table.count().sent(info, length);
          return;
        }
      } catch (PortUnreachableException e) {
        unreachable();
        return;
      } catch (IOException e) {
        // It is lost: too long for the way there, or there is none just now.
      }
      table.count().datagramDropped();
    }

    private int sendToPeer(ByteBuffer datagram) throws IOException {
      SocketAddress to = peer;
      return to == null ? channel.write(datagram) : channel.send(datagram, to);
    }

    private void unreachable() {
      table.link().sendRefused(Frames.DGRAM, place);
    }

    @Override
    public void ready(SelectionKey key) {
      try {
        for (int i = 0; i < READS; i++) {
          ByteBuffer buffer = loop.buffers().datagram();
          // Of the two ways to read, the one that tells an empty datagram from none.
          if (channel.receive(buffer) == null) {
            break;
          }
          received(buffer.flip());
        }
      } catch (PortUnreachableException e) {
        unreachable();
      } catch (IOException e) {
        end(End.FAILED);
      }
      table.flush();
    }

    @Override
    public void faulted() {
      end(End.FAILED);
      table.flush();
    }

    /** Sends a datagram to the guest; what there is no room for is lost. */
    void received(ByteBuffer datagram) {
      lastUsed = loop.now();
      int count = datagram.remaining();
      if (table.ingress().left() > 0 && table.link().sendDatagram(place, datagram)) {
        received += count;
        table.ingress().use(count);
        table.count().received(info, count);
      } else {
        table.count().datagramDropped();
      }
    }

    FlowInfo info() {
      return info;
    }

    void end(End how) {
      sessions.remove(place, this);
      onEnd.run();
      info.release();
      table.journal().ended(info, sent, received, how);
    }
  }
}
