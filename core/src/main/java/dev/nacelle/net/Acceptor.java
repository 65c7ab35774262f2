// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Transport;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Has the guest accept those who come to published ports, and probes. On the loop. */
final class Acceptor {
  private static final Duration AGAIN = Duration.ofMillis(100);
  private static final String NOBODY_LISTENS =
      "nobody in the sandbox listens there; who listens on localhost alone is not reached";

  private final NetworkLoop loop;
  private final FlowTable table;
  private final GuestLink link;
  private final Journal journal;
  private final Publisher publisher;
  private final Map<Integer, Pending> accepting = new HashMap<>();

  /** Of those that the host opens, the next. */
  private int nextFlow = 2;

  /** Somebody at a published port, or a probe, who waits for the guest. */
  private record Pending(GuestDeadlines.Deadline deadline, @Nullable PublishedPort port) {}

  Acceptor(NetworkLoop loop, FlowTable table, Publisher publisher) {
    this.loop = loop;
    this.table = table;
    this.publisher = publisher;
    link = table.link();
    journal = table.journal();
  }

  /** Takes who comes to published ports from now on. */
  void begin() {
    publisher.begin(loop, this);
  }

  void flush() {
    link.flush();
  }

  LoopBuffers buffers() {
    return loop.buffers();
  }

  boolean ipv6() {
    return table.ipv6();
  }

  /**
   * Somebody has connected to a published port.
   *
   * @param seen as whom the guest sees it
   * @return whether the channel is taken
   */
  boolean accept(SocketChannel peer, PublishedPort port, InetSocketAddress address, Place seen)
      throws IOException {
    if (!table.takesPeers()) {
      return false;
    }
    Limit limit = table.reached(Direction.INBOUND);
    if (limit != null) {
      journal.limited(limit);
      return false;
    }
    FlowInfo info = inbound(Transport.TCP, address, port);
    TcpFlow flow = new TcpFlow(table, nextFlow, info, peer, table.newWindow(), table.newCredit(0));
    flow.register(loop.register(peer, 0, flow));
    ask(flow, seen, port);
    return true;
  }

  private FlowInfo inbound(Transport transport, InetSocketAddress peer, PublishedPort port) {
    FlowInfo info =
        new FlowInfo(
            table.nextNumber(),
            transport,
            Direction.INBOUND,
            Ip.of(peer.getAddress()),
            peer.getPort(),
            port.guestPort());
    info.allow(port.toString());
    return info;
  }

  private void ask(Flow flow, Place seen, @Nullable PublishedPort port) {
    nextFlow += 2;
    table.keep(flow);
    try {
      accepting.put(
          flow.id,
          new Pending(
              table.expect(flow, () -> timedOut(flow), table.limits().connectTimeout()), port));
      if (port != null) {
        publisher.asked(port);
      }
      link.sendAccept(flow.id, seen, flow.window());
    } catch (RuntimeException | Error e) {
      table.forget(flow, true);
      throw e;
    }
  }

  private void timedOut(Flow flow) {
    link.sendReset(flow.id, Reset.ABORTED);
    failed(flow, "the sandbox has not answered in time");
    link.flush();
  }

  private void failed(Flow flow, String why) {
    boolean isProbe = flow instanceof ProbeFlow;
    table.forget(flow, true);
    flow.info.release();
    if (!isProbe) {
      journal.failed(flow.info, new IOException(why));
    }
  }

  /** Asks whether somebody accepts on a port of the guest's. */
  void probe(int guestPort, CompletableFuture<Void> answer) {
    if (!table.takesPeers()) {
      answer.completeExceptionally(new ConnectException("the sandbox has no network now"));
      return;
    }
    Place seen = publisher.gateway(guestPort);
    FlowInfo info =
        new FlowInfo(
            table.nextNumber(),
            Transport.TCP,
            Direction.INBOUND,
            seen.remote(),
            seen.remotePort(),
            guestPort);
    ask(new ProbeFlow(nextFlow, info, answer), seen, null);
    link.flush();
  }

  /** As {@link #accept}, of somebody who sends datagrams; null where it may not. */
  UdpSessions.@Nullable Session acceptDatagrams(
      DatagramChannel channel,
      PublishedPort port,
      InetSocketAddress peer,
      Place seen,
      Runnable onEnd) {
    Limit limit = table.takesPeers() ? table.reachedByUdp(Direction.INBOUND) : null;
    if (limit != null) {
      journal.limited(limit);
    }
    if (limit != null || !table.takesPeers()) {
      journal.counters().datagramDropped();
      return null;
    }
    FlowInfo info = inbound(Transport.UDP, peer, port);
    UdpSessions.Session session = table.sessions().accept(seen, info, channel, peer, onEnd);
    journal.allowed(info);
    return session;
  }

  /** Too many wait for the guest at one port. */
  void limited() {
    journal.limited(Limit.PENDING_FLOWS);
  }

  /** Nobody can be taken just now, most likely since the host has no descriptors. */
  void cannotTake() {
    journal.events().limit(Limit.HOST_DESCRIPTORS);
  }

  /** Runs that in a while. */
  void later(Consumer<NetworkLoop> again) {
    var unused = loop.schedule(() -> again.accept(loop), AGAIN);
  }

  // -- The guest's answers

  void accepted(int id, int window) throws FrameException {
    Flow flow = answered(id, "ACCEPTED");
    if (flow == null) {
      return;
    }
    table.checkWindow(id, window);
    try {
      flow.accepted(window);
    } catch (IOException e) {
      table.broken(flow);
      return;
    }
    if (flow.isOpen()) {
      journal.allowed(flow.info);
    } else {
      table.broken(flow);
    }
  }

  void refused(int id, Refusal why) throws FrameException {
    Flow flow = answered(id, "REFUSED");
    if (flow != null) {
      failed(flow, why == Refusal.LIMIT ? "the sandbox takes no more" : NOBODY_LISTENS);
    }
  }

  /** Whom the guest answers; null where nobody waits for it any more. */
  private @Nullable Flow answered(int id, String frame) throws FrameException {
    boolean waited = forget(id);
    Flow flow = table.find(id);
    boolean isOpen = flow != null && flow.isOpen();
    if (isOpen || !waited && Integer.compareUnsigned(id, nextFlow) >= 0) {
      throw new FrameException(
          Violation.NOT_ASKED, frame + " of flow " + Integer.toUnsignedString(id));
    }
    return flow;
  }

  /** It is not waited for any more; whether it was. */
  boolean forget(int id) {
    Pending pending = accepting.remove(id);
    if (pending == null) {
      return false;
    }
    pending.deadline.cancel();
    if (pending.port != null) {
      publisher.answered(pending.port);
    }
    return true;
  }
}
