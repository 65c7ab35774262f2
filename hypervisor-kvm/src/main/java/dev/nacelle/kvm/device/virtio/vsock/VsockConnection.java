// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import java.io.IOException;
import java.net.ConnectException;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One stream between host and guest: its state machine and its flow control (virtio 1.2 sections
 * 5.10.6.3 and 5.10.6.5). Guarded by the device's lock; user code is called without it.
 *
 * <p>Packets to the guest are not queued: what the guest is owed is a set of bits and a buffer,
 * from which the next packet is made when the guest gives room for one. So a guest that gives none
 * makes nothing grow.
 *
 * <p>A guest that breaks the protocol (data beyond its credit, after its own end of output, a
 * second connect, an unknown operation) has this connection reset; its other connections go on.
 *
 * <pre>
 *   the host connects                           the guest connects
 *          |                                            |
 *          v                 RESPONSE                   v
 *     CONNECTING ----------------------------------> ESTABLISHED
 *          |  |                                      |        |
 *          |  | another answer; (*) no answer;       |        | a rule broken; both outputs shut
 *          |  | closed once the guest was asked      |        | down by the guest; (*) closed, and
 *          |  |                                      |        | the last bytes not taken
 *          |  '-------------> RESETTING <------------|--------'
 *          |                      |                  |
 *          | RST; closed before   | reset sent;      | RST; closed, and the last bytes
 *          | the guest was asked  | RST; (*) reset   | and a reset sent
 *          |                      | not taken        |
 *          '------------------> GONE <---------------'
 * </pre>
 *
 * A transition with (*) is taken when the guest's time is over ({@link
 * VsockDevice#PATIENCE_NANOS}). A reset of the whole device leads from anywhere to GONE, except for
 * a connect that the guest has not seen. What the user did is apart from that: {@link #closed},
 * {@link #outputEnded}. The place among the device's connections is free again when the connection
 * is GONE and its user has closed it or read all there was.
 */
final class VsockConnection implements GuestConnection {
  /** What write takes at most while the guest has no buffer for it, in bytes. */
  static final int SEND_BYTES = 64 * 1024;

  /** Largest payload in bytes; what Linux' driver uses too (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE). */
  private static final int MAXIMUM_PAYLOAD = 64 * 1024;

  private enum State {
    /** The host has asked to connect; the guest has not answered. */
    CONNECTING,
    ESTABLISHED,
    /** The guest is owed a reset, and nothing else counts any more. */
    RESETTING,
    /** Neither side will name these ports again. */
    GONE
  }

  // What the guest is owed, beside data.
  private static final int OWED_REQUEST = 1;
  private static final int OWED_RESPONSE = 2;
  private static final int OWED_SHUTDOWN = 4;
  private static final int OWED_CREDIT_REQUEST = 8;
  private static final int OWED_CREDIT_UPDATE = 16;

  private final VsockDevice device;
  private final int hostPort;
  private final int guestPort;

  private State state;
  private int owed;

  /** It is in the device's queue of that name, which it leaves when it is gone at the latest. */
  boolean inOutput;

  /** It is in the device's queue of that name, likewise. */
  boolean isHeld;

  boolean inEvents;

  // From guest to host.
  private final ReceiveWindow received = new ReceiveWindow();
  private boolean guestEndedOutput;

  // From host to guest.
  private final ByteRing toSend = new ByteRing();
  private final SendCredit credit = new SendCredit();
  private boolean guestEndedInput;
  private boolean outputEnded;
  private boolean writerWaits;
  private boolean creditRequested;

  /** The guest has accepted the host's connect. */
  private boolean answered;

  /** The guest has refused the host's connect. */
  private boolean refused;

  /** Why the connection is no more; null while it is. */
  private @Nullable String failure;

  /** All connections with the guest are no more. */
  private boolean guestLost;

  private boolean closed;

  /** The guest has until {@link #end} to do what is waited for. */
  private boolean timed;

  private long end;

  /** It counts among the device's connections. */
  private boolean counted = true;

  private @Nullable Consumer<GuestConnection> acceptor;
  private @Nullable CompletableFuture<GuestConnection> connecting;
  private @Nullable Runnable listener;

  private VsockConnection(VsockDevice device, State state, int hostPort, int guestPort) {
    this.device = device;
    this.state = state;
    this.hostPort = hostPort;
    this.guestPort = guestPort;
  }

  /** The guest has connected; the packet tells its credit. */
  static VsockConnection accepted(
      VsockDevice device, VsockHeader request, Consumer<GuestConnection> acceptor) {
    VsockConnection connection =
        new VsockConnection(device, State.ESTABLISHED, request.destinationPort, request.sourcePort);
    connection.credit.start(request.bufferSize);
    connection.acceptor = acceptor;
    connection.owed = OWED_RESPONSE;
    return connection;
  }

  /** The host wants to connect. */
  static VsockConnection connecting(
      VsockDevice device, int hostPort, int guestPort, CompletableFuture<GuestConnection> future) {
    VsockConnection connection = new VsockConnection(device, State.CONNECTING, hostPort, guestPort);
    connection.connecting = future;
    connection.owed = OWED_REQUEST;
    return connection;
  }

  // ---- packets from the guest; all with the lock held

  /** The guest has sent a packet to this connection's ports, of stream type. */
  void receive(VsockHeader header, DescriptorChain packet) {
    if (header.operation == VsockHeader.RESET) {
      refused = state == State.CONNECTING;
      lost("the guest " + (refused ? "refused" : "reset") + " the connection");
      return;
    }
    if (state == State.RESETTING) {
      return;
    }
    if (state == State.CONNECTING && header.operation != VsockHeader.RESPONSE) {
      reset("the guest answered a connect with operation " + header.operation);
      return;
    }
    if (!learnCredit(header)) {
      reset("the guest acknowledged more than was sent");
      return;
    }
    switch (header.operation) {
      case VsockHeader.RESPONSE -> established();
      case VsockHeader.SHUTDOWN -> shutDown(header.flags);
      case VsockHeader.DATA -> receiveData(header.length, packet);
      case VsockHeader.CREDIT_REQUEST -> owe(OWED_CREDIT_UPDATE);
      case VsockHeader.CREDIT_UPDATE -> {
        // The credit of every packet has been taken over already.
      }
      default ->
          reset("the guest sent operation " + header.operation + " on an established connection");
    }
  }

  /** The guest has sent a packet that has more payload than its buffer. */
  void receiveTooLittle(VsockHeader header) {
    if (state != State.RESETTING) {
      reset(
          "the guest sent a packet with "
              + Integer.toUnsignedString(header.length)
              + " bytes in a buffer that is too small for them");
    }
  }

  /** Takes over the guest's credit; false when it cannot be. */
  private boolean learnCredit(VsockHeader header) {
    if (!credit.learn(header.bufferSize, header.forwarded)) {
      return false;
    }
    creditRequested = false;
    device.outputMayBeReady(this);
    tellWriter();
    return true;
  }

  private void established() {
    if (state != State.CONNECTING) {
      reset("the guest accepted a connection twice");
      return;
    }
    state = State.ESTABLISHED;
    timed = false;
    answered = true;
    device.events().add(this);
  }

  private void shutDown(int flags) {
    if ((flags & VsockHeader.NO_MORE_SENDING) != 0) {
      guestEndedOutput = true;
    }
    if ((flags & VsockHeader.NO_MORE_RECEIVING) != 0) {
      guestEndedInput = true;
      toSend.release();
    }
    if (guestEndedOutput && guestEndedInput) {
      // Both directions are over: answer with a reset, so that the guest can forget the ports.
      reset("the guest closed the connection");
      return;
    }
    device.outputMayBeReady(this);
    device.events().add(this);
  }

  private void receiveData(int length, DescriptorChain packet) {
    if (Integer.toUnsignedLong(length) > received.credit()) {
      reset(
          "the guest sent "
              + Integer.toUnsignedString(length)
              + " bytes with credit for "
              + received.credit());
    } else if (guestEndedOutput) {
      reset("the guest sent data after the end of its output");
    } else if (!closed && length > 0) {
      boolean first = received.isEmpty();
      received.append(packet, VsockHeader.BYTES, length);
      if (first) {
        device.events().add(this);
      }
    }
  }

  // ---- packets to the guest; all with the lock held

  private void owe(int what) {
    owed |= what;
    device.outputMayBeReady(this);
  }

  /** Whether {@link #emit} has a packet to make. */
  boolean hasOutput() {
    return switch (state) {
      case RESETTING -> true;
      case CONNECTING -> owed != 0;
      case ESTABLISHED -> {
        boolean atEnd = owed == OWED_SHUTDOWN || (owed == 0 && closed);
        yield sendable() > 0 || (atEnd ? toSend.isEmpty() : owed != 0);
      }
      case GONE -> false;
    };
  }

  /** How many of the bytes taken from the user may go now. */
  private int sendable() {
    return device.holdsData() ? 0 : Math.min(toSend.size(), credit.bytes());
  }

  /** Whether there are bytes that the guest has room for, and no more than a limit may hold. */
  boolean hasData() {
    return state == State.ESTABLISHED && Math.min(toSend.size(), credit.bytes()) > 0;
  }

  /**
   * Writes the next packet into a buffer of the guest that has room for a header and at least one
   * byte. Call only when there is one.
   *
   * @return the packet's size in bytes; 0 when it is one of data that must wait
   */
  int emit(DescriptorChain buffer) {
    if (state == State.RESETTING) {
      int size = device.putHeader(this, VsockHeader.RESET, 0, 0, buffer);
      gone();
      return size;
    }
    if (take(OWED_REQUEST)) {
      giveTime();
      return device.putHeader(this, VsockHeader.REQUEST, 0, 0, buffer);
    }
    if (take(OWED_RESPONSE)) {
      return device.putHeader(this, VsockHeader.RESPONSE, 0, 0, buffer);
    }
    int length = device.admitData(Math.min(sendable(), payloadRoom(buffer)));
    if (length > 0) {
      credit.use(length);
      int size = device.putHeader(this, VsockHeader.DATA, 0, length, buffer);
      toSend.take(buffer, VsockHeader.BYTES, length);
      tellWriter();
      return size;
    }
    if (take(OWED_CREDIT_REQUEST)) {
      return device.putHeader(this, VsockHeader.CREDIT_REQUEST, 0, 0, buffer);
    }
    if (toSend.isEmpty() && closed) {
      int size = device.putHeader(this, VsockHeader.RESET, 0, 0, buffer);
      gone();
      return size;
    }
    if (toSend.isEmpty() && take(OWED_SHUTDOWN)) {
      return device.putHeader(this, VsockHeader.SHUTDOWN, VsockHeader.NO_MORE_SENDING, 0, buffer);
    }
    return take(OWED_CREDIT_UPDATE)
        ? device.putHeader(this, VsockHeader.CREDIT_UPDATE, 0, 0, buffer)
        : 0;
  }

  private boolean take(int what) {
    boolean was = (owed & what) != 0;
    owed &= ~what;
    return was;
  }

  private static int payloadRoom(DescriptorChain buffer) {
    return (int) Math.min(buffer.writableBytes() - VsockHeader.BYTES, MAXIMUM_PAYLOAD);
  }

  /** Every packet tells the guest its credit, so a packet of any kind pays an update. */
  void describeCredit(VsockHeader header) {
    received.tell(header);
    owed &= ~OWED_CREDIT_UPDATE;
  }

  /** Has the writer told when it can go on, but not for every few bytes. */
  private void tellWriter() {
    if (writerWaits && toSend.size() <= SEND_BYTES / 2 && credit.bytes() > toSend.size()) {
      writerWaits = false;
      device.events().add(this);
    }
  }

  // ---- the end; all with the lock held

  /** This side breaks off: the guest gets a reset. */
  private void reset(String why) {
    if (failure == null) {
      failure = why;
    }
    toSend.release();
    state = State.RESETTING;
    giveTime();
    device.outputMayBeReady(this);
    device.events().add(this);
    releaseIfDone();
  }

  /** The guest knows already, or is no more. */
  void lost(String why) {
    if (failure == null) {
      failure = why;
    }
    toSend.release();
    device.events().add(this);
    gone();
  }

  /** The same of all connections, for the guest or its device starts over, or has ended. */
  void lostWithAll(String why) {
    guestLost |= failure == null;
    lost(why);
  }

  private void giveTime() {
    timed = true;
    end = device.endOfPatience();
  }

  /**
   * Goes on without the guest where its time is over: tells it once more, with a reset, and then no
   * more; a packet on these ports will tell it again.
   *
   * @return in how many nanoseconds there is to look again; {@link Long#MAX_VALUE} for never
   */
  long timeLeft(long now) {
    if (timed && end - now <= 0) {
      if (state == State.RESETTING) {
        gone();
      } else if (isHeld) {
        giveTime(); // it is the limit that makes the guest wait
      } else {
        reset("the guest has not answered in time");
      }
    }
    return timed ? end - now : Long.MAX_VALUE;
  }

  /** A connect that the guest has not seen yet outlives the driver's start. */
  boolean guestHasSeenIt() {
    return (owed & OWED_REQUEST) == 0;
  }

  private void gone() {
    state = State.GONE;
    owed = 0;
    timed = false;
    device.forget(this);
    releaseIfDone();
  }

  /** The place is another's when the guest is through and the user has nothing left to read. */
  private void releaseIfDone() {
    if (counted && state == State.GONE && (closed || received.isEmpty())) {
      counted = false;
      received.release();
      device.released(received.grownBytes());
    }
  }

  // ---- the user's side

  @Override
  public int read(ByteBuffer destination) throws IOException {
    synchronized (device.lock()) {
      if (closed) {
        throw new IOException("the connection is closed");
      }
      int n = received.take(destination);
      if (n > 0) {
        returnCredit();
        releaseIfDone();
        return n;
      }
      if (!destination.hasRemaining()) {
        return 0;
      }
      if (guestEndedOutput) {
        return -1;
      }
      throwIfFailed();
      return 0;
    }
  }

  private void returnCredit() {
    if (state == State.ESTABLISHED && !guestEndedOutput && received.isUpdateDue()) {
      if (received.wouldGrow() && device.mayGrow(received.capacity())) {
        received.grow();
      }
      owe(OWED_CREDIT_UPDATE);
      device.flushForUser();
    }
  }

  @Override
  public int write(ByteBuffer source) throws IOException {
    synchronized (device.lock()) {
      if (closed || outputEnded) {
        throw new IOException(
            closed ? "the connection is closed" : "the output was shut down by this side");
      }
      throwIfFailed();
      if (guestEndedInput) {
        throw new IOException("the guest reads no more from this connection");
      }
      int start = source.position();
      int room;
      do {
        if (toSend.isEmpty() && owed == 0) {
          device.sendDirectly(this, source);
          throwIfFailed();
        }
        room = Math.min(Math.min(credit.bytes(), SEND_BYTES) - toSend.size(), source.remaining());
        if (room > 0) {
          toSend.append(source, room);
          device.outputMayBeReady(this);
          device.flushForUser();
          throwIfFailed();
        }
        // The guest may just have given buffers and all of it went out: then nothing is left that
        // would tell the writer of new room, so the rest is taken now.
      } while (room > 0 && source.hasRemaining());
      if (source.hasRemaining()) {
        waitForRoom();
      }
      return source.position() - start;
    }
  }

  @Override
  public int write(ByteBuffer[] sources, int count) throws IOException {
    synchronized (device.lock()) {
      int taken = 0;
      for (int i = 0; i < count; i++) {
        taken += sources[i].remaining();
      }
      boolean mayWrite = state == State.ESTABLISHED && !closed && !outputEnded && !guestEndedInput;
      if (mayWrite && toSend.isEmpty() && owed == 0) {
        device.sendDirectly(this, sources, count);
      }
      for (int i = 0; i < count; i++) {
        ByteBuffer source = sources[i];
        // Also where nothing is left of it: it is this that tells of a failure.
        if (source.hasRemaining() || i == count - 1) {
          var ignored = write(source);
        }
        if (source.hasRemaining()) {
          break;
        }
      }
      for (int i = 0; i < count; i++) {
        taken -= sources[i].remaining();
      }
      return taken;
    }
  }

  /** Copies one packet from the user's buffer into the guest's; 0 when it must wait. */
  int emitDirectly(ByteBuffer source, DescriptorChain buffer) {
    int length =
        device.admitData(
            Math.min(Math.min(credit.bytes(), source.remaining()), payloadRoom(buffer)));
    if (length == 0) {
      return 0;
    }
    credit.use(length);
    int size = device.putHeader(this, VsockHeader.DATA, 0, length, buffer);
    buffer.write(VsockHeader.BYTES, source, length);
    return size;
  }

  boolean canSend(ByteBuffer source) {
    return source.hasRemaining() && credit.bytes() > 0 && !device.holdsData();
  }

  private void waitForRoom() {
    writerWaits = true;
    if (credit.bytes() <= toSend.size() && !creditRequested) {
      // A driver tells of new room by itself; asking once covers one that does not.
      creditRequested = true;
      owe(OWED_CREDIT_REQUEST);
      device.flushForUser();
    }
  }

  private void throwIfFailed() throws IOException {
    if (failure != null) {
      throw guestLost ? new GuestLostException(failure) : new IOException(failure);
    }
  }

  @Override
  public void shutdownOutput() throws IOException {
    synchronized (device.lock()) {
      if (closed) {
        throw new IOException("the connection is closed");
      }
      if (!outputEnded) {
        outputEnded = true;
        if (state == State.ESTABLISHED) {
          owe(OWED_SHUTDOWN);
          device.flushForUser();
        }
      }
    }
  }

  /**
   * {@inheritDoc}
   *
   * <p>What write took still goes out if the guest takes it in time, then a reset: it needs no
   * answer, so that a guest cannot keep a place by never giving one, and Linux lets its user read
   * what came before.
   */
  @Override
  public void close() {
    synchronized (device.lock()) {
      if (closed) {
        return;
      }
      closed = true;
      listener = null;
      received.release();
      if (state == State.CONNECTING) {
        if (guestHasSeenIt()) {
          state = State.RESETTING;
        } else {
          gone();
        }
      }
      if (state != State.GONE) {
        giveTime();
      }
      releaseIfDone();
      owed &= OWED_RESPONSE;
      device.outputMayBeReady(this);
      device.flushForUser();
    }
  }

  @Override
  public void setEventListener(Runnable listener) {
    synchronized (device.lock()) {
      if (closed) {
        return;
      }
      this.listener = listener;
      device.events().add(this);
    }
    device.events().deliverIfLoopEnded();
  }

  /** Calls the user. Without the lock, by one thread at a time. */
  void deliverEvent() {
    Consumer<GuestConnection> newAcceptor;
    CompletableFuture<GuestConnection> future = null;
    String refusal = null;
    boolean withAll;
    Runnable toRun;
    synchronized (device.lock()) {
      newAcceptor = acceptor;
      acceptor = null;
      if (answered || failure != null) {
        future = connecting;
        connecting = null;
        // A guest that accepts, sends a few words and closes at once has accepted.
        refusal = answered ? null : failure;
      }
      withAll = guestLost;
      toRun = listener;
    }
    if (newAcceptor != null) {
      newAcceptor.accept(this);
    }
    if (future != null) {
      if (refusal == null) {
        future.complete(this);
      } else {
        String why = "connecting to port " + portName(guestPort) + ": " + refusal;
        future.completeExceptionally(
            refused
                ? new ConnectException(why)
                : withAll ? new GuestLostException(why) : new IOException(why));
      }
    }
    if (toRun != null) {
      toRun.run();
    }
  }

  static String portName(int port) {
    return Integer.toUnsignedString(port);
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
  public String toString() {
    return "vsock host:" + portName(hostPort) + " guest:" + portName(guestPort);
  }
}
