// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Hello;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Transport;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.nio.channels.UnresolvedAddressException;
import java.nio.channels.UnsupportedAddressTypeException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * All flows of one sandbox: asks the policy, opens the host's sockets, and carries what passes
 * between them and the guest's link. On its loop, so it needs no locks.
 *
 * <p>The guest is hostile. What it is not entitled to by the link's rules ends the link, and with
 * it its flows; the sandbox goes on without a network.
 */
final class FlowTable implements GuestLink.Handler {
  /** A flow's window: what the guest may send of it before the socket has taken it. */
  private static final int LARGEST_WINDOW = 256 << 10;

  /** A machine that ends takes its link with it; only one that goes on has lost it. */
  private static final Duration WHILE_ENDING = Duration.ofSeconds(1);

  private static final Duration ACCEPT_AGAIN = Duration.ofMillis(100);
  private static final String NOBODY_LISTENS =
      "nobody in the sandbox listens there; who listens on localhost alone is not reached";

  private static final int SMALLEST_WINDOW = 32 << 10;

  /** What all windows take together, but for the smallest. */
  private static final int WINDOWS = 16 << 20;

  private final NetworkLoop loop;
  private final GuestLink link;
  private final Surroundings surroundings;
  private final EventSink events;
  private final Counters counters = new Counters();
  private final Pins pins;
  private final Map<Integer, Flow> flows = new HashMap<>();
  private final Map<Integer, NetworkLoop.Timer> connecting = new HashMap<>();
  private final GuestDeadlines deadlines;
  private final Map<Integer, Pending> accepting = new HashMap<>();
  private final Publisher publisher;
  private final UdpSessions sessions;
  private final DnsService dns;
  private final Deque<Flow> waiting = new ArrayDeque<>();
  private final Denials denials;
  private final Throttle egress;
  private final Throttle ingress;
  private CompiledPolicy policy;
  private @Nullable InetSocketAddress proxy;
  private NetworkLimits limits;
  private TokenBucket opens;
  private long numbers;

  /** Of those that the host opens, the next. */
  private int nextFlow = 2;

  private @Nullable Hello guest;
  private int windows;
  private boolean over;
  private NetworkLoop.@Nullable Timer lost;

  /** Whether there is a network by its policy. */
  private boolean present;

  /** Somebody at a published port, or a probe, who waits for the guest. */
  private record Pending(GuestDeadlines.Deadline deadline, @Nullable PublishedPort port) {}

  FlowTable(
      NetworkLoop loop,
      GuestConnection connection,
      ActivePolicy policy,
      Publisher publisher,
      Pins pins,
      Surroundings surroundings,
      EventSink events) {
    this.loop = loop;
    this.publisher = publisher;
    this.pins = pins;
    deadlines = new GuestDeadlines(loop);
    this.surroundings = surroundings;
    this.events = events;
    this.policy = policy.compiled();
    present = !policy.policy().isNone();
    proxy = policy.proxy();
    limits = policy.policy().limits();
    opens = new TokenBucket(limits.opens(), System.nanoTime());
    link = new GuestLink(loop, connection, this);
    denials = new Denials(link);
    sessions = new UdpSessions(loop, this);
    dns =
        new DnsService(
            loop, link, pins, counters, events, denials, surroundings, this.policy, limits);
    egress = new Throttle(loop, TcpFlow::writeAgain);
    ingress = new Throttle(loop, TcpFlow::readAgain);
    egress.limit(limits.egress().orElse(null));
    ingress.limit(limits.ingress().orElse(null));
  }

  /** Begins, on the loop. */
  void begin() {
    link.begin();
  }

  GuestLink link() {
    return link;
  }

  Counters count() {
    return counters;
  }

  Throttle egress() {
    return egress;
  }

  Throttle ingress() {
    return ingress;
  }

  void flush() {
    link.flush();
  }

  GuestDeadlines deadlines() {
    return deadlines;
  }

  boolean ipv6() {
    return surroundings.ipv6();
  }

  NetworkStatistics statistics() {
    return counters.read(flows.size(), sessions.size(), events.lost());
  }

  // -- The link

  @Override
  public void hello(Hello hello) {
    guest = hello;
    link.begin(hello);
    link.sendHello(
        new Hello(
            Frames.MAX_DATA, LARGEST_WINDOW, LARGEST_WINDOW, hello.epochHigh(), hello.epochLow()));
    publisher.begin(loop, this);
  }

  @Override
  public void data(int id, ByteBuffer bytes) throws FrameException {
    Flow flow = flows.get(id);
    if (flow != null) {
      try {
        flow.data(bytes);
      } catch (IOException e) {
        broken(flow);
      }
    }
  }

  @Override
  public void fin(int id) throws FrameException {
    Flow flow = flows.get(id);
    if (flow != null) {
      try {
        flow.fin();
      } catch (IOException e) {
        broken(flow);
      }
    }
  }

  @Override
  public void credit(int id, int amount) throws FrameException {
    Flow flow = flows.get(id);
    if (flow != null) {
      flow.credit(amount);
    }
  }

  @Override
  public void reset(int id, Reset why) {
    Flow flow = flows.get(id);
    if (flow != null) {
      over(flow, End.RESET_BY_SANDBOX, true);
    }
  }

  @Override
  public void accepted(int id, int window) throws FrameException {
    Flow flow = answered(id, "ACCEPTED");
    if (flow == null) {
      return;
    }
    checkWindow(id, window);
    try {
      flow.accepted(window);
    } catch (IOException e) {
      broken(flow);
      return;
    }
    if (flow.isOpen()) {
      allowed(flow.info);
    } else {
      broken(flow);
    }
  }

  @Override
  public void refused(int id, Refusal why) throws FrameException {
    Flow flow = answered(id, "REFUSED");
    if (flow != null) {
      cannotAccept(flow, why == Refusal.LIMIT ? "the sandbox takes no more" : NOBODY_LISTENS);
    }
  }

  /** Whom the guest answers; null where nobody waits for it any more. */
  private @Nullable Flow answered(int id, String frame) throws FrameException {
    if (!answered(id) && Integer.compareUnsigned(id, nextFlow) >= 0) {
      throw new FrameException(Violation.NOT_ASKED, frame + " of flow " + name(id));
    }
    Flow flow = flows.get(id);
    if (flow != null && flow.isOpen()) {
      throw new FrameException(Violation.NOT_ASKED, frame + " of flow " + name(id));
    }
    return flow;
  }

  private boolean answered(int id) {
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

  private void checkWindow(int id, int window) throws FrameException {
    Hello hello = guest;
    if (hello == null || window > hello.largestWindow()) {
      throw new FrameException(Violation.WRONG_VALUE, "the window of flow " + name(id));
    }
  }

  private static String name(int id) {
    return Integer.toUnsignedString(id);
  }

  @Override
  public void opened(int flow, int window) {
    throw notOfTheGuests();
  }

  @Override
  public void accept(
      int flow, boolean v6, long high, long low, int remotePort, int localPort, int window) {
    throw notOfTheGuests();
  }

  @Override
  public void resetAll(long epochHigh, long epochLow) {
    throw notOfTheGuests();
  }

  @Override
  public void denial(ByteBuffer line) {
    throw notOfTheGuests();
  }

  private static AssertionError notOfTheGuests() {
    return new AssertionError("the decoder lets no such frame of a guest's through");
  }

  @Override
  public void echo(
      boolean v6,
      long high,
      long low,
      int sequence,
      int identifier,
      boolean refused,
      ByteBuffer bytes) {
    // A JVM has no way to ping.
    link.sendRefused(Frames.ECHO, new Place(ip(v6, high, low), sequence, identifier));
  }

  private static Ip ip(boolean v6, long high, long low) {
    return v6 ? Ip.v6(high, low) : Ip.v4((int) low);
  }

  @Override
  public void hasRoom() {
    for (int i = waiting.size(); i > 0; i--) {
      waiting.remove().hasRoom();
    }
  }

  void waitsForRoom(Flow flow) {
    waiting.add(flow);
  }

  @Override
  public void ended(String why, boolean byFault) {
    over = true;
    for (Flow flow : new ArrayList<>(flows.values())) {
      over(flow, End.NETWORK_ENDED, true);
    }
    sessions.endAll(End.NETWORK_ENDED);
    dns.close();
    waiting.clear();
    egress.close();
    ingress.close();
    deadlines.close();
    if (byFault) {
      tellLost(why);
    } else {
      lost = loop.schedule(() -> tellLost(why), WHILE_ENDING);
    }
  }

  private void tellLost(String why) {
    counters.linkLost();
    events.tell(time -> new NetworkEvent.LinkLost(events.sandboxId(), time, why));
  }

  // -- Flows of the guest's

  @Override
  public void open(
      int id, boolean v6, long high, long low, int remotePort, int localPort, int window)
      throws FrameException {
    checkWindow(id, window);
    Place place = new Place(ip(v6, high, low), remotePort, localPort);
    Limit limit = reached();
    if (limit != null) {
      link.sendRefused(id, Refusal.LIMIT);
      limited(limit);
      return;
    }
    FlowInfo info =
        new FlowInfo(
            ++numbers, Transport.TCP, Direction.OUTBOUND, place.remote(), place.remotePort(), 0);
    if (remotePort == DnsService.PORT) {
      openDns(id, info, credit(window));
      return;
    }
    Decision decision = decide(info);
    DenialReason reason = decision.reason();
    if (reason != null) {
      link.sendRefused(id, Refusal.POLICY);
      denied(info, reason, decision.rule(), decision.names(), "");
      return;
    }
    info.allow(decision);
    connect(id, info, decision, credit(window));
  }

  private void openDns(int id, FlowInfo info, Credit guestsCredit) {
    if (!dns.beginStream()) {
      link.sendRefused(id, Refusal.LIMIT);
      limited(Limit.FLOWS);
      return;
    }
    Flow flow = new DnsFlow(this, dns, id, info, guestsCredit);
    flows.put(id, flow);
    windows += flow.window();
    link.sendOpened(id, flow.window());
  }

  private Credit credit(int window) {
    Hello hello = guest;
    return new Credit(window, hello == null ? window : hello.largestWindow());
  }

  private Decision decide(FlowInfo info) {
    return policy.decide(info.transport, info.remote, info.port, surroundings.isHosts(), pins);
  }

  /** Which limit is reached; null where none is. */
  private @Nullable Limit reached() {
    if (flows.size() >= limits.flows()) {
      return Limit.FLOWS;
    }
    if (connecting.size() + accepting.size() >= limits.pendingFlows()) {
      return Limit.PENDING_FLOWS;
    }
    return opens.take(System.nanoTime()) ? null : Limit.OPENS;
  }

  private @Nullable Limit reachedByUdp() {
    if (sessions.size() >= limits.udpSessions()) {
      return Limit.UDP_SESSIONS;
    }
    return opens.take(System.nanoTime()) ? null : Limit.OPENS;
  }

  private void limited(Limit limit) {
    counters.denied(DenialReason.LIMIT);
    events.limit(limit);
  }

  private void denied(
      FlowInfo info, DenialReason reason, String rule, List<String> names, String said) {
    counters.denied(reason);
    denials.flow(info, reason, rule, names, said);
    events.tell(
        time ->
            new NetworkEvent.FlowDenied(
                events.sandboxId(), time, info.toFlow(), reason, rule, names, said));
  }

  private void connect(int id, FlowInfo info, Decision decision, Credit guestsCredit) {
    SocketChannel channel;
    try {
      channel = SocketChannel.open();
    } catch (IOException e) {
      // The host has no descriptor left, most of all.
      refuse(id, info, Refusal.LIMIT, e);
      events.limit(Limit.HOST_DESCRIPTORS);
      return;
    }
    TcpFlow flow = new TcpFlow(this, id, info, channel, window(), guestsCredit);
    flow.decided(decision);
    flows.put(id, flow);
    windows += flow.window();
    try {
      channel.configureBlocking(false);
      channel.connect(surroundings.route(target(flow, decision)));
      flow.register(loop.register(channel, SelectionKey.OP_CONNECT, flow));
      Duration patience = limits.connectTimeout();
      connecting.put(id, loop.schedule(() -> timedOut(flow), patience));
      if (channel.isConnected()) {
        connected(flow);
      }
    } catch (IOException | UnresolvedAddressException | UnsupportedAddressTypeException e) {
      failed(flow, e);
    }
  }

  private InetSocketAddress target(TcpFlow flow, Decision decision) {
    InetSocketAddress service = decision.service();
    if (service != null) {
      return service;
    }
    FlowInfo info = flow.info;
    InetSocketAddress through = proxy;
    if (through != null
        && AddressClass.of(info.remote, surroundings.isHosts()) == AddressClass.PUBLIC) {
      flow.through(new ProxyTunnel(info.remote, info.port));
      return through;
    }
    return new InetSocketAddress(info.remote.toInetAddress(), info.port);
  }

  private int window() {
    int share = Integer.highestOneBit(Math.max(1, (WINDOWS - windows) / 32));
    return Math.min(LARGEST_WINDOW, Math.max(SMALLEST_WINDOW, share));
  }

  /** A socket that was to connect has done so or not. */
  void connected(TcpFlow flow) {
    try {
      if (flow.connect()) {
        opened(flow);
      }
    } catch (IOException e) {
      failed(flow, e);
    }
    link.flush();
  }

  private void opened(TcpFlow flow) throws IOException {
    stopTimer(flow);
    flow.opened();
    link.sendOpened(flow.id, flow.window());
    allowed(flow.info);
  }

  private void allowed(FlowInfo info) {
    counters.opened(info);
    events.tell(
        time ->
            new NetworkEvent.FlowAllowed(
                events.sandboxId(), time, info.toFlow(), info.rule(), info.names()));
  }

  private void timedOut(TcpFlow flow) {
    forget(flow, false);
    refuse(flow.id, flow.info, Refusal.TIMEOUT, new IOException("no answer in time"));
    link.flush();
  }

  private void failed(TcpFlow flow, Exception why) {
    forget(flow, false);
    refuse(flow.id, flow.info, ConnectFailure.of(why), why);
  }

  private void refuse(int id, FlowInfo info, Refusal refusal, Exception why) {
    info.release();
    link.sendRefused(id, refusal);
    failed(info, why);
  }

  private void failed(FlowInfo info, Exception why) {
    counters.failed();
    events.tell(
        time ->
            new NetworkEvent.FlowFailed(
                events.sandboxId(), time, info.toFlow(), ConnectFailure.inWords(why)));
  }

  private void stopTimer(Flow flow) {
    NetworkLoop.Timer timer = connecting.remove(flow.id);
    if (timer != null) {
      timer.cancel();
    }
  }

  // -- Those who come to published ports

  /**
   * Somebody has connected to a published port.
   *
   * @param seen as whom the guest sees it
   * @return whether the channel is taken
   */
  boolean accept(SocketChannel peer, PublishedPort port, InetSocketAddress address, Place seen)
      throws IOException {
    if (over || !present) {
      return false;
    }
    Limit limit = reached();
    if (limit != null) {
      limited(limit);
      return false;
    }
    FlowInfo info = inbound(Transport.TCP, address, port);
    TcpFlow flow = new TcpFlow(this, nextFlow, info, peer, window(), credit(0));
    flow.register(loop.register(peer, 0, flow));
    ask(flow, seen, port);
    return true;
  }

  private FlowInfo inbound(Transport transport, InetSocketAddress peer, PublishedPort port) {
    FlowInfo info =
        new FlowInfo(
            ++numbers,
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
    flows.put(flow.id, flow);
    windows += flow.window();
    accepting.put(
        flow.id,
        new Pending(
            deadlines.expect(
                () -> {
                  link.sendReset(flow.id, Reset.ABORTED);
                  cannotAccept(flow, "the sandbox has not answered in time");
                  link.flush();
                },
                limits.connectTimeout()),
            port));
    link.sendAccept(flow.id, seen, flow.window());
  }

  private void cannotAccept(Flow flow, String why) {
    boolean wasProbe = flow instanceof ProbeFlow;
    forget(flow, true);
    if (!wasProbe) {
      failed(flow.info, new IOException(why));
    }
    flow.info.release();
  }

  /** Asks whether somebody accepts on a port of the guest's. */
  void probe(Place seen, CompletableFuture<Void> answer) {
    FlowInfo info =
        new FlowInfo(
            ++numbers,
            Transport.TCP,
            Direction.INBOUND,
            seen.remote(),
            seen.remotePort(),
            seen.localPort());
    ask(new ProbeFlow(nextFlow, info, answer), seen, null);
    link.flush();
  }

  /** Too many wait for the guest at one port. */
  void limitedPending() {
    limited(Limit.PENDING_FLOWS);
  }

  /**
   * Nobody can be taken just now, most likely since the host has no descriptors.
   *
   * @param again what is done to try again
   */
  void cannotAccept(Consumer<NetworkLoop> again) {
    events.limit(Limit.HOST_DESCRIPTORS);
    var unused = loop.schedule(() -> again.accept(loop), ACCEPT_AGAIN);
  }

  /** As {@link #accept}, of somebody who sends datagrams; null where it may not. */
  UdpSessions.@Nullable Session acceptDatagrams(
      DatagramChannel channel,
      PublishedPort port,
      InetSocketAddress peer,
      Place seen,
      Runnable onEnd) {
    Limit limit = over || !present ? Limit.UDP_SESSIONS : reachedByUdp();
    if (limit != null) {
      if (!over) {
        limited(limit);
      }
      counters.datagramDropped();
      return null;
    }
    FlowInfo info = inbound(Transport.UDP, peer, port);
    UdpSessions.Session session = sessions.accept(seen, info, channel, peer, onEnd);
    allowed(info);
    return session;
  }

  // -- Datagrams of the guest's

  @Override
  public void datagram(
      boolean v6,
      long high,
      long low,
      int remotePort,
      int localPort,
      boolean refused,
      ByteBuffer bytes) {
    Place place = new Place(ip(v6, high, low), remotePort, localPort);
    UdpSessions.Session session = sessions.find(place);
    if (session == null && remotePort == DnsService.PORT) {
      dns.datagram(place, bytes);
      return;
    }
    if (session == null) {
      session = openSession(place);
    }
    if (session != null) {
      session.send(bytes);
    }
  }

  private UdpSessions.@Nullable Session openSession(Place place) {
    Limit limit = reachedByUdp();
    if (limit != null) {
      limited(limit);
      counters.datagramDropped();
      return null;
    }
    FlowInfo info =
        new FlowInfo(
            ++numbers, Transport.UDP, Direction.OUTBOUND, place.remote(), place.remotePort(), 0);
    Decision decision = decide(info);
    DenialReason reason = decision.reason();
    if (reason != null) {
      link.sendRefused(Frames.DGRAM, place);
      denied(info, reason, decision.rule(), decision.names(), "");
      return null;
    }
    info.allow(decision);
    try {
      InetSocketAddress target =
          surroundings.route(
              new InetSocketAddress(place.remote().toInetAddress(), place.remotePort()));
      UdpSessions.Session session = sessions.open(place, info, target);
      allowed(info);
      return session;
    } catch (IOException | UnsupportedAddressTypeException e) {
      info.release();
      link.sendRefused(Frames.DGRAM, place);
      failed(info, e);
      return null;
    }
  }

  // -- Flows that are open

  /** What it sent is not allowed. */
  void denied(TcpFlow flow, DenialReason reason, String said) {
    link.sendReset(flow.id, Reset.POLICY);
    denied(flow.info, reason, flow.info.rule(), flow.info.names(), said);
    over(flow, End.DENIED, true);
  }

  /** Its socket is of no use any more. */
  void broken(Flow flow) {
    link.sendReset(flow.id, Reset.ABORTED);
    over(flow, End.RESET_BY_PEER, true);
  }

  /** It is over, and the guest knows. */
  void over(Flow flow, End how) {
    over(flow, how, false);
  }

  private void over(Flow flow, End how, boolean abruptly) {
    boolean isTold = flow.isOpen() && flow.isOfPolicy();
    forget(flow, abruptly);
    if (isTold) {
      ended(flow.info, flow.sent(), flow.received(), how);
    } else {
      flow.info.release();
    }
  }

  /** A flow that was connected is over. */
  void ended(FlowInfo info, long sent, long received, End how) {
    info.release();
    Duration duration = Duration.ofNanos(System.nanoTime() - info.begin);
    events.tell(
        time ->
            new NetworkEvent.FlowEnded(
                events.sandboxId(), time, info.toFlow(), sent, received, duration, how));
  }

  private void forget(Flow flow, boolean abruptly) {
    stopTimer(flow);
    answered(flow.id);
    if (flows.remove(flow.id, flow)) {
      windows -= flow.window();
      waiting.remove(flow);
    }
    flow.close(abruptly);
  }

  // -- What its owner asks

  /** Has another policy from now on, also for the flows that there are. */
  void update(ActivePolicy changed) {
    policy = changed.compiled();
    present = !changed.policy().isNone();
    proxy = changed.proxy();
    NetworkLimits before = limits;
    limits = changed.policy().limits();
    if (!limits.opens().equals(before.opens())) {
      opens = new TokenBucket(limits.opens(), System.nanoTime());
    }
    if (!limits.egress().equals(before.egress())) {
      egress.limit(limits.egress().orElse(null));
    }
    if (!limits.ingress().equals(before.ingress())) {
      ingress.limit(limits.ingress().orElse(null));
    }
    dns.update(policy, limits);
    for (Flow flow : new ArrayList<>(flows.values())) {
      judgeAgain(flow);
    }
    sessions.all().forEach(this::judgeAgain);
    link.flush();
  }

  private void judgeAgain(Flow flow) {
    if (!flow.isOfPolicy()) {
      return;
    }
    if (flow.info.direction == Direction.INBOUND) {
      if (!present) {
        link.sendReset(flow.id, Reset.POLICY);
        over(flow, End.DENIED, true);
      }
      return;
    }
    Decision decision = decide(flow.info);
    DenialReason reason = decision.reason();
    if (reason == null) {
      reason = flow.decided(decision);
    }
    if (reason == null) {
      flow.info.allow(decision);
      return;
    }
    denied(flow.info, reason, decision.rule(), decision.names(), flow.said());
    if (flow.isOpen()) {
      link.sendReset(flow.id, Reset.POLICY);
    } else {
      link.sendRefused(flow.id, Refusal.POLICY);
    }
    over(flow, End.DENIED, true);
  }

  private void judgeAgain(UdpSessions.Session session) {
    FlowInfo info = session.info();
    if (info.direction == Direction.INBOUND) {
      if (!present) {
        session.end(End.DENIED);
      }
      return;
    }
    Decision decision = decide(info);
    DenialReason reason = decision.reason();
    if (reason == null) {
      info.allow(decision);
    } else {
      denied(info, reason, decision.rule(), decision.names(), "");
      session.end(End.DENIED);
    }
  }

  /** Ends all. */
  void close() {
    link.end("the sandbox ends");
    if (lost != null) {
      // It was the sandbox that ended, and its network with it.
      lost.cancel();
    }
  }
}
