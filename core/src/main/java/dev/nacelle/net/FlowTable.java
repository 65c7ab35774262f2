// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Hello;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.Transport;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.UnsupportedAddressTypeException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
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

  private static final int SMALLEST_WINDOW = 32 << 10;

  /** What all windows take together, but for the smallest. */
  private static final int WINDOWS = 16 << 20;

  private final NetworkLoop loop;
  private final GuestLink link;
  private final Surroundings surroundings;
  private final Journal journal;
  private final Pins pins;
  private final Map<Integer, Flow> flows = new HashMap<>();
  private final Dialer dialer;
  private final GuestDeadlines deadlines;
  private final Acceptor acceptor;
  private final UdpSessions sessions;
  private final DnsService dns;
  private final Deque<Flow> waiting = new ArrayDeque<>();
  private final NetworkMemory.Share memory;
  private final EndedServers ended;
  private final Throttle egress;
  private final Throttle ingress;
  private ActivePolicy active;

  /** Of the sandbox's own, and of those who come to its published ports. */
  private TokenBucket opens;

  private TokenBucket comers;
  private long numbers;

  private @Nullable Hello guest;
  private int windows;
  private boolean over;
  private NetworkLoop.@Nullable Timer lost;

  FlowTable(
      NetworkLoop loop,
      GuestConnection connection,
      ActivePolicy policy,
      Publisher publisher,
      Pins pins,
      Surroundings surroundings,
      EventSink events) {
    this.loop = loop;
    this.pins = pins;
    deadlines = new GuestDeadlines(loop);
    this.surroundings = surroundings;
    memory = surroundings.memory().share();
    active = policy;
    NetworkLimits limits = limits();
    opens = new TokenBucket(limits.opens(), System.nanoTime());
    comers = new TokenBucket(limits.opens(), System.nanoTime());
    link = new GuestLink(loop, connection, this);
    journal = new Journal(events, link);
    dialer = new Dialer(loop, this, surroundings);
    acceptor = new Acceptor(loop, this, publisher);
    sessions = new UdpSessions(loop, this);
    dns = new DnsService(loop, link, pins, journal, surroundings, policy);
    ended = new EndedServers(loop);
    egress = new Throttle(loop, flow -> guarded(flow, flow::writeAgain), link::flush);
    ingress = new Throttle(loop, flow -> guarded(flow, flow::readAgain), link::flush);
    egress.limit(limits.egress().orElse(null));
    ingress.limit(limits.ingress().orElse(null));
  }

  /** Begins, on the loop. */
  void begin() {
    link.listen();
  }

  GuestLink link() {
    return link;
  }

  Journal journal() {
    return journal;
  }

  Counters count() {
    return journal.counters();
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

  /** A socket that was to connect has done so or not. */
  void connected(TcpFlow flow) {
    dialer.connected(flow);
  }

  /** For what receivers do not take. */
  NetworkMemory.Share memory() {
    return memory;
  }

  /** For flows whose server has ended. */
  EndedServers ended() {
    return ended;
  }

  GuestDeadlines deadlines() {
    return deadlines;
  }

  /** Expects something of a flow's, as {@link GuestDeadlines#expect}. */
  GuestDeadlines.Deadline expect(Flow flow, Runnable missed, Duration time) {
    return deadlines.expect(() -> guarded(flow, missed), time);
  }

  Acceptor acceptor() {
    return acceptor;
  }

  UdpSessions sessions() {
    return sessions;
  }

  NetworkLimits limits() {
    return active.policy().limits();
  }

  ActivePolicy active() {
    return active;
  }

  /** Whether somebody who comes to a published port is taken: not before the guest was greeted. */
  boolean takesPeers() {
    return guest != null && isPresent() && !over;
  }

  /** Whether there is a network by its policy. */
  private boolean isPresent() {
    return !active.policy().isNone();
  }

  boolean ipv6() {
    return surroundings.ipv6();
  }

  NetworkStatistics statistics() {
    return journal.counters().read(flows.size(), sessions.size(), journal.events().lost());
  }

  // -- The link

  @Override
  public void hello(Hello hello) {
    guest = hello;
    link.greeted(hello);
    link.sendHello(
        new Hello(
            Frames.MAX_DATA, LARGEST_WINDOW, LARGEST_WINDOW, hello.epochHigh(), hello.epochLow()));
    acceptor.begin();
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
    acceptor.accepted(id, window);
  }

  @Override
  public void refused(int id, Refusal why) throws FrameException {
    acceptor.refused(id, why);
  }

  @Nullable Flow find(int id) {
    return flows.get(id);
  }

  void checkWindow(int id, int window) throws FrameException {
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
    for (int i = waiting.size(); i > 0 && !waiting.isEmpty(); i--) {
      Flow flow = waiting.remove();
      guarded(flow, flow::hasRoom);
    }
  }

  void waitsForRoom(Flow flow) {
    waiting.add(flow);
  }

  @Override
  public void ended(String why, boolean byFault) {
    over = true;
    for (Flow flow : new ArrayList<>(flows.values())) {
      guarded(flow, () -> over(flow, End.NETWORK_ENDED, true));
    }
    sessions.endAll(End.NETWORK_ENDED);
    dns.close();
    waiting.clear();
    ended.close();
    egress.close();
    ingress.close();
    deadlines.close();
    if (byFault) {
      journal.lost(why);
    } else {
      lost = loop.schedule(() -> journal.lost(why), WHILE_ENDING);
    }
  }

  // -- Flows of the guest's

  @Override
  public void open(
      int id, boolean v6, long high, long low, int remotePort, int localPort, int window)
      throws FrameException {
    if (over) {
      return;
    }
    checkWindow(id, window);
    Place place = new Place(ip(v6, high, low), remotePort, localPort);
    Limit limit = reached(Direction.OUTBOUND);
    if (limit != null) {
      link.sendRefused(id, Refusal.LIMIT);
      journal.limited(limit);
      return;
    }
    FlowInfo info =
        new FlowInfo(
            nextNumber(), Transport.TCP, Direction.OUTBOUND, place.remote(), place.remotePort(), 0);
    if (remotePort == DnsService.PORT) {
      openDns(id, info, newCredit(window));
      return;
    }
    Decision decision = decide(info);
    DenialReason reason = decision.reason();
    if (reason != null) {
      link.sendRefused(id, Refusal.POLICY);
      journal.denied(info, reason, decision.rule(), decision.names(), "");
      return;
    }
    info.allow(decision);
    dialer.dial(id, info, decision, newCredit(window));
  }

  private void openDns(int id, FlowInfo info, Credit guestsCredit) {
    if (!dns.beginStream()) {
      link.sendRefused(id, Refusal.LIMIT);
      journal.limited(Limit.FLOWS);
      return;
    }
    Flow flow = new DnsFlow(this, dns, id, info, guestsCredit);
    keep(flow);
    link.sendOpened(id, flow.window());
  }

  Credit newCredit(int window) {
    Hello hello = guest;
    return new Credit(window, hello == null ? window : hello.largestWindow());
  }

  long nextNumber() {
    return ++numbers;
  }

  private Decision decide(FlowInfo info) {
    return active
        .compiled()
        .decide(info.transport, info.remote, info.port, surroundings.isHosts(), pins);
  }

  /**
   * Which limit is reached by another connection; null where none is. Of those to published ports
   * that wait for the guest, each port has its own bound.
   */
  @Nullable Limit reached(Direction direction) {
    if (flows.size() >= limits().flows()) {
      return Limit.FLOWS;
    }
    if (direction == Direction.OUTBOUND && dialer.pending() >= limits().pendingFlows()) {
      return Limit.PENDING_FLOWS;
    }
    return begins(direction);
  }

  @Nullable Limit reachedByUdp(Direction direction) {
    if (sessions.size() >= limits().udpSessions()) {
      return Limit.UDP_SESSIONS;
    }
    return begins(direction);
  }

  private @Nullable Limit begins(Direction direction) {
    TokenBucket left = direction == Direction.INBOUND ? comers : opens;
    return left.take(System.nanoTime()) ? null : Limit.OPENS;
  }

  /** What a flow that begins may have under way at once. */
  int newWindow() {
    int share = Integer.highestOneBit(Math.max(1, (WINDOWS - windows) / 32));
    return Math.min(LARGEST_WINDOW, Math.max(SMALLEST_WINDOW, share));
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
    if (over) {
      return;
    }
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
    Limit limit = reachedByUdp(Direction.OUTBOUND);
    if (limit != null) {
      journal.limited(limit);
      journal.counters().datagramDropped();
      return null;
    }
    FlowInfo info =
        new FlowInfo(
            nextNumber(), Transport.UDP, Direction.OUTBOUND, place.remote(), place.remotePort(), 0);
    Decision decision = decide(info);
    DenialReason reason = decision.reason();
    if (reason != null) {
      link.sendRefused(Frames.DGRAM, place);
      journal.denied(info, reason, decision.rule(), decision.names(), "");
      return null;
    }
    info.allow(decision);
    try {
      InetSocketAddress target =
          surroundings.route(
              new InetSocketAddress(place.remote().toInetAddress(), place.remotePort()));
      UdpSessions.Session session = sessions.open(place, info, target);
      journal.allowed(info);
      return session;
    } catch (IOException | UnsupportedAddressTypeException e) {
      info.release();
      link.sendRefused(Frames.DGRAM, place);
      journal.failed(info, e);
      return null;
    }
  }

  // -- Flows that are open

  /** What it sent is not allowed. */
  void denied(TcpFlow flow, DenialReason reason, String said) {
    link.sendReset(flow.id, Reset.POLICY);
    journal.denied(flow.info, reason, flow.info.rule(), flow.info.names(), said);
    over(flow, End.DENIED, true);
  }

  /** What it has sent and its receiver does not take is more than there is memory for. */
  void outOfMemory(Flow flow) {
    link.sendReset(flow.id, Reset.LIMIT);
    journal.limited(Limit.MEMORY);
    over(flow, End.FAILED, true);
  }

  /** Its socket is of no use any more. */
  void broken(Flow flow) {
    link.sendReset(flow.id, Reset.ABORTED);
    over(flow, End.RESET_BY_PEER, true);
  }

  /**
   * Something of ours has failed at it: it ends. So does the link where the guest cannot be told,
   * which would wait for ever.
   */
  void faulted(Flow flow) {
    try {
      over(flow, End.FAILED, true);
      tellEnd(flow, Reset.ABORTED, Refusal.HOST_UNREACHABLE);
      link.flush();
    } catch (RuntimeException | Error e) {
      logger().log(Level.ERROR, "a sandbox was not told of a connection's end", e);
      link.end("a fault at the host: " + e);
    }
  }

  /** Does something of a flow's: a fault of ours at that ends it, and keeps nothing from others. */
  void guarded(Flow flow, Runnable task) {
    guarded(task, () -> faulted(flow));
  }

  private static void guarded(Runnable task, Runnable faulted) {
    try {
      task.run();
    } catch (RuntimeException | Error e) {
      logger().log(Level.ERROR, "a sandbox's connection was not served, and is closed", e);
      faulted.run();
    }
  }

  private static System.Logger logger() {
    return System.getLogger(FlowTable.class.getName());
  }

  private void tellEnd(Flow flow, Reset ofOpen, Refusal ofOther) {
    // What the host has asked for is not refused but taken back.
    if (flow.isOpen() || flow.info.direction == Direction.INBOUND) {
      link.sendReset(flow.id, ofOpen);
    } else {
      link.sendRefused(flow.id, ofOther);
    }
  }

  /** It is over, and the guest knows. */
  void over(Flow flow, End how) {
    over(flow, how, false);
  }

  private void over(Flow flow, End how, boolean abruptly) {
    boolean isTold = flow.isOpen() && flow.isOfPolicy();
    forget(flow, abruptly);
    flow.info.release();
    if (isTold) {
      journal.ended(flow.info, flow.sent(), flow.received(), how);
    }
  }

  void keep(Flow flow) {
    flows.put(flow.id, flow);
    windows += flow.window();
  }

  void forget(Flow flow, boolean abruptly) {
    dialer.forget(flow);
    acceptor.forget(flow.id);
    ended.forget(flow);
    egress.forget(flow);
    ingress.forget(flow);
    if (flows.remove(flow.id, flow)) {
      windows -= flow.window();
      waiting.remove(flow);
    }
    flow.close(abruptly);
  }

  // -- What its owner asks

  /** Has another policy from now on, also for the flows that there are. */
  void update(ActivePolicy changed) {
    NetworkLimits before = limits();
    active = changed;
    NetworkLimits limits = limits();
    if (!limits.opens().equals(before.opens())) {
      opens = new TokenBucket(limits.opens(), System.nanoTime());
      comers = new TokenBucket(limits.opens(), System.nanoTime());
    }
    dns.update(changed);
    for (Flow flow : new ArrayList<>(flows.values())) {
      guarded(flow, () -> judgeAgain(flow));
    }
    for (UdpSessions.Session session : sessions.all()) {
      guarded(() -> judgeAgain(session), session::faulted);
    }
    // What the rates held back goes on, but nothing of what was denied just now.
    if (!limits.egress().equals(before.egress())) {
      egress.limit(limits.egress().orElse(null));
    }
    if (!limits.ingress().equals(before.ingress())) {
      ingress.limit(limits.ingress().orElse(null));
    }
    link.flush();
  }

  private void judgeAgain(Flow flow) {
    if (!flow.isOfPolicy()) {
      return;
    }
    if (flow.info.direction == Direction.INBOUND) {
      if (!isPresent()) {
        link.sendReset(flow.id, Reset.POLICY);
        over(flow, End.DENIED, true);
      }
      return;
    }
    Decision decision = decide(flow.info);
    DenialReason reason = decision.reason();
    if (reason == null && !Objects.equals(flow.info.service(), decision.service())) {
      // The service is another now.
      reason = DenialReason.NO_RULE;
    }
    if (reason == null && !Objects.equals(flow.info.proxy(), dialer.proxy(flow.info, decision))) {
      reason = DenialReason.PROXY;
    }
    if (reason == null) {
      reason = flow.decided(decision);
    }
    if (reason == null) {
      flow.info.allow(decision);
      flow.lookAgain();
      return;
    }
    journal.denied(flow.info, reason, decision.rule(), decision.names(), flow.said());
    tellEnd(flow, Reset.POLICY, Refusal.POLICY);
    over(flow, End.DENIED, true);
  }

  private void judgeAgain(UdpSessions.Session session) {
    FlowInfo info = session.info();
    if (info.direction == Direction.INBOUND) {
      if (!isPresent()) {
        session.end(End.DENIED);
      }
      return;
    }
    Decision decision = decide(info);
    DenialReason reason = decision.reason();
    if (reason == null) {
      info.allow(decision);
    } else {
      journal.denied(info, reason, decision.rule(), decision.names(), "");
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
