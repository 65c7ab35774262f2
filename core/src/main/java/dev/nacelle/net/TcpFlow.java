// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.Decision.Check;
import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.End;
import java.io.IOException;
import java.net.ConnectException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * A TCP connection: the guest's end of it at the agent, and a socket of the host's. On the loop.
 *
 * <p>Content waits in the host's sockets and in the agent. Here waits what the guest has sent and
 * the socket does not take yet, or may not have yet: at most the window that it was given.
 */
final class TcpFlow extends Flow implements NetworkLoop.Handler {
  /** Frames that are sent for one readiness of a socket, so that others get their turn. */
  private static final int READS = 8;

  /** How long a client's name may take, from its first byte on. */
  private static final Duration NAME_LIMIT = Duration.ofSeconds(10);

  private final FlowTable table;
  final SocketChannel channel;
  private final GuestWindow fromGuest;
  private final Credit toGuest;
  private final Backlog backlog;

  private @Nullable SelectionKey key;
  private @Nullable Gate gate;
  private @Nullable ProxyTunnel tunnel;
  private boolean asked;
  private GuestDeadlines.@Nullable Deadline nameDeadline;
  private boolean open;
  private boolean over;

  private long received;

  private boolean guestFin;
  private boolean toldFin;
  private boolean waitsToRead;
  private boolean waitsToWrite;

  /** Of the network's, what its gate has. */
  private int gateMemory;

  /**
   * @param window what the guest may send at once
   * @param toGuest what it takes
   */
  TcpFlow(
      FlowTable table, int id, FlowInfo info, SocketChannel channel, int window, Credit toGuest) {
    super(id, info);
    this.table = table;
    this.channel = channel;
    this.toGuest = toGuest;
    fromGuest = new GuestWindow(window);
    backlog = new Backlog(window, table.memory());
  }

  @Override
  long sent() {
    return fromGuest.sent();
  }

  @Override
  long received() {
    return received;
  }

  @Override
  int window() {
    return fromGuest.size();
  }

  @Override
  boolean isOpen() {
    return open;
  }

  @Override
  String said() {
    Gate looksAt = gate;
    return looksAt == null ? "" : looksAt.said();
  }

  @Override
  @Nullable DenialReason decided(Decision now) {
    Gate looksAt = gate;
    if (looksAt != null) {
      return looksAt.decided(now);
    }
    if (!now.isUnchecked()) {
      if (open) {
        // It was not looked at, and is too late now.
        return now.judge(now.checks(Check.TLS) ? Check.TLS : Check.HTTP, null, false);
      }
      gate = new Gate(now);
    }
    return null;
  }

  @Override
  void lookAgain() {
    Gate looksAt = gate;
    if (looksAt != null && open) {
      look(looksAt);
      again(SelectionKey.OP_WRITE);
    }
  }

  void register(SelectionKey registered) {
    key = registered;
  }

  @Override
  void accepted(int window) throws FrameException, IOException {
    toGuest.add(window);
    opened();
  }

  /** Both ends are connected. */
  void opened() throws IOException {
    open = true;
    channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
    listen();
  }

  /** Waits for what it can go on with. */
  void listen() {
    SelectionKey registered = key;
    if (over || registered == null || !registered.isValid()) {
      return;
    }
    int operations = 0;
    if (!open) {
      operations = info.direction == Direction.OUTBOUND ? whileConnecting() : 0;
    } else {
      if (!toldFin && !waitsToRead && toGuest.left() > 0) {
        operations |= SelectionKey.OP_READ;
      }
      if (!waitsToWrite && backlog.mayLeave()) {
        operations |= SelectionKey.OP_WRITE;
      }
    }
    if (registered.interestOps() != operations) {
      registered.interestOps(operations);
    }
  }

  /**
   * Is told of an error of its socket, where there is one and it waits for nothing else: of a
   * socket that is connected {@link SelectionKey#OP_CONNECT} tells that alone. Until {@link
   * #listen()}, since a selector does not wait with it.
   */
  void expectError() {
    SelectionKey registered = key;
    if (!over && registered != null && registered.isValid() && registered.interestOps() == 0) {
      registered.interestOps(SelectionKey.OP_CONNECT);
    }
  }

  private int whileConnecting() {
    if (!channel.isConnected()) {
      return SelectionKey.OP_CONNECT;
    }
    return asked ? SelectionKey.OP_READ : SelectionKey.OP_WRITE;
  }

  /** It is connected to through a proxy. */
  void through(ProxyTunnel proxy) {
    tunnel = proxy;
  }

  /**
   * Connects to the server, as far as that is possible now.
   *
   * @return whether that is done
   */
  boolean connect() throws IOException {
    if (!channel.finishConnect()) {
      return false;
    }
    ProxyTunnel proxy = tunnel;
    if (proxy != null) {
      asked = asked || proxy.send(channel);
      if (!asked || !proxy.receive(channel)) {
        listen();
        return false;
      }
      tunnel = null;
    }
    return true;
  }

  @Override
  public void ready(SelectionKey ready) {
    if (!open) {
      table.connected(this);
      return;
    }
    try {
      if (ready.isConnectable()) {
        throw new ConnectException("the server has reset what it had ended");
      }
      if (ready.isWritable()) {
        write();
      }
      if (!over && ready.isReadable()) {
        read();
      }
    } catch (IOException e) {
      table.broken(this);
    }
    table.flush();
  }

  @Override
  public void faulted() {
    table.faulted(this);
  }

  private void read() throws IOException {
    long allowed = table.ingress().left();
    for (int i = 0; i < READS && !over && !toldFin && toGuest.left() > 0; i++) {
      if (allowed <= 0) {
        waitsToRead = true;
        table.ingress().await(this);
        break;
      }
      int count = table.link().send(id, channel, (int) Math.min(toGuest.left(), allowed));
      if (count == GuestLink.NO_ROOM) {
        waitsToRead = true;
        table.waitsForRoom(this);
        break;
      }
      if (count == 0) {
        break;
      }
      if (count < 0) {
        ended();
        break;
      }
      received(count);
      allowed -= count;
    }
    listen();
  }

  /** The server sends no more. */
  private void ended() {
    Gate looksAt = gate;
    if (looksAt != null && looksAt.awaitsAnswer()) {
      // What waits for its answer would wait for ever.
      table.broken(this);
      return;
    }
    toldFin = true;
    table.link().sendFin(id);
    table.ended().add(this);
    finishIfDone();
  }

  private void received(int count) throws IOException {
    received += count;
    toGuest.spend(count);
    table.ingress().use(count);
    table.count().received(info, count);
    Gate waiting = gate;
    if (waiting != null && waiting.awaitsAnswer()) {
      if (waiting.answered(table.link().lastContent(count))) {
        look(waiting);
        write();
      }
    }
  }

  @Override
  void hasRoom() {
    waitsToRead = false;
    listen();
  }

  /** There are bytes again that may reach the guest. */
  void readAgain() {
    waitsToRead = false;
    again(SelectionKey.OP_READ);
  }

  /** There are bytes again that may leave it. */
  void writeAgain() {
    waitsToWrite = false;
    again(SelectionKey.OP_WRITE);
  }

  private void again(int operation) {
    if (over) {
      return;
    }
    try {
      if (operation == SelectionKey.OP_READ) {
        read();
      } else {
        write();
      }
    } catch (IOException e) {
      table.broken(this);
    }
  }

  @Override
  void data(ByteBuffer bytes) throws FrameException, IOException {
    int count = bytes.remaining();
    if (!open || guestFin) {
      throw new FrameException(Violation.NOT_OPEN, "DATA of flow " + this);
    }
    fromGuest.use(count);
    table.count().sent(info, count);
    Gate looksAt = gate;
    if (looksAt != null && !looksAt.isOpen()) {
      if (keep(bytes)) {
        look(looksAt);
        write();
      }
      return;
    }
    if (backlog.isEmpty() && !waitsToWrite && !table.egress().isLimited()) {
      channel.write(bytes);
      if (!bytes.hasRemaining()) {
        giveCredit();
        return;
      }
    }
    if (keep(bytes)) {
      backlog.clearAll();
      write();
    }
  }

  private boolean keep(ByteBuffer bytes) {
    boolean kept = backlog.add(bytes);
    if (!kept) {
      table.outOfMemory(this);
    }
    return kept;
  }

  private void look(Gate looksAt) {
    ByteBuffer unseen = backlog.unseen();
    boolean passes = true;
    while (passes && !looksAt.isOpen()) {
      int before = unseen.position();
      passes = looksAt.look(unseen);
      backlog.saw(unseen.position() - before);
      if (passes) {
        backlog.clear();
      }
    }
    if (!hasMemory(looksAt.memory())) {
      table.outOfMemory(this);
      return;
    }
    DenialReason reason = looksAt.denied();
    if (reason == null && guestFin && !looksAt.isOpen() && !looksAt.awaitsAnswer()) {
      // What is held will never be whole.
      reason = backlog.holdsSeen() ? DenialReason.WRONG_PROTOCOL : null;
    }
    if (reason != null) {
      table.denied(this, reason, looksAt.said());
    } else if (looksAt.isOpen()) {
      backlog.clearAll();
      stopTimer();
    } else if (backlog.holdsSeen() && !looksAt.awaitsAnswer()) {
      if (nameDeadline == null) {
        nameDeadline = table.expect(this, this::namedNobody, NAME_LIMIT);
      }
    } else {
      stopTimer();
    }
  }

  /** Whether its gate may have so many bytes. */
  private boolean hasMemory(int needed) {
    if (needed > gateMemory && !table.memory().take(needed - gateMemory)) {
      return false;
    }
    if (needed < gateMemory) {
      table.memory().giveBack(gateMemory - needed);
    }
    gateMemory = needed;
    return true;
  }

  private void namedNobody() {
    table.denied(this, DenialReason.NO_NAME_IN_TIME, "");
    table.flush();
  }

  private void stopTimer() {
    if (nameDeadline != null) {
      nameDeadline.cancel();
      nameDeadline = null;
    }
  }

  private void write() throws IOException {
    if (over) {
      return;
    }
    long allowed = table.egress().left();
    while (!waitsToWrite && backlog.mayLeave()) {
      if (allowed <= 0) {
        waitsToWrite = true;
        table.egress().await(this);
        break;
      }
      int count = backlog.writeTo(channel, allowed);
      table.egress().use(count);
      if (count < allowed) {
        break;
      }
      allowed -= count;
    }
    giveCredit();
    if (guestFin && backlog.isEmpty()) {
      channel.shutdownOutput();
      finishIfDone();
    }
    listen();
  }

  private void giveCredit() {
    int amount = guestFin ? 0 : fromGuest.give(backlog.size());
    if (amount > 0) {
      table.link().sendCredit(id, amount);
    }
  }

  @Override
  void credit(int amount) throws FrameException {
    toGuest.add(amount);
    listen();
  }

  @Override
  void fin() throws FrameException, IOException {
    if (!open || guestFin) {
      throw new FrameException(Violation.NOT_OPEN, "FIN of flow " + this);
    }
    guestFin = true;
    Gate looksAt = gate;
    if (looksAt != null && !looksAt.isOpen()) {
      look(looksAt);
    }
    write();
  }

  private void finishIfDone() {
    if (guestFin && toldFin && backlog.isEmpty()) {
      table.over(this, End.FINISHED);
    }
  }

  @Override
  void close(boolean abruptly) {
    if (over) {
      return;
    }
    over = true;
    backlog.drop();
    table.memory().giveBack(gateMemory);
    gateMemory = 0;
    stopTimer();
    if (abruptly) {
      Sockets.reset(channel);
    } else {
      Sockets.close(channel);
    }
  }
}
