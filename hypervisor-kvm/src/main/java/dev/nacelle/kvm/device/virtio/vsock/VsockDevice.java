// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.Timer;
import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.Ignored;
import dev.nacelle.kvm.device.virtio.RateLimiter;
import dev.nacelle.kvm.device.virtio.VirtQueue;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.VirtualMachine;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The socket device (virtio 1.2 section 5.10): the queues, the ports, and which connection may
 * speak next.
 *
 * <p>One lock guards the device and all its connections. Packets from the guest are taken on the
 * event loop; a user's write copies straight into the guest's buffers on the user's thread when
 * nobody waits for them, and otherwise waits its turn: connections with something to say get one
 * packet each, in turn. Listeners are called on the event loop, without the lock.
 *
 * <p>A packet that is shorter than its header is dropped, as is one with another source than the
 * guest (section 5.10.6.4); one that breaks the protocol, or is longer than its buffer, resets its
 * connection.
 *
 * <p>What a guest can make the host hold is bounded. There are at most {@link
 * #MAXIMUM_CONNECTIONS}; each holds at most {@link ReceiveWindow#INITIAL_BYTES} that its user has
 * not read, and {@link #GROWTH_BYTES} more all together: 64 MiB. Besides, each holds at most {@link
 * VsockConnection#SEND_BYTES} that its user has written and the guest has not taken, closed ones
 * included: 128 MiB where a service writes that much to each of so many. Resets for packets of no
 * connection are {@link OwedResets bounded} by not taking further packets. For how long a guest can
 * make the host hold something that it neither takes nor answers is bounded, too: {@link
 * #PATIENCE_NANOS}.
 */
public final class VsockDevice extends VirtioDevice {
  /** Connections at a time, including those whose last bytes the user has not read. */
  public static final int MAXIMUM_CONNECTIONS = 2048;

  /** By how many bytes all receive buffers together may grow beyond their first size. */
  static final int GROWTH_BYTES = 32 * 1024 * 1024;

  /**
   * How long a guest has to answer a connect that it was told of, to take the last bytes of a
   * connection that the host has closed, and to take a reset: 30 s. Linux gives 2 s to a connect
   * and 8 s to a close (net/vmw_vsock), from where its peer is no further than its host.
   */
  static final long PATIENCE_NANOS = 30_000_000_000L;

  /** Who has run out of time is looked for that often at most. */
  private static final long LOOK_NANOS = 1_000_000_000L;

  /** VMADDR_PORT_ANY, which is no port (include/uapi/linux/vm_sockets.h). */
  private static final int PORT_ANY = -1;

  // Virtio 1.2 sections 5.10.1 to 5.10.4
  private static final int DEVICE_ID = 19;
  private static final int RX = 0;
  private static final int TX = 1;
  private static final int EVENT = 2;
  private static final int QUEUE_SIZE = 128;
  private static final long F_STREAM = 1;
  private static final long HOST_CID = 2;

  /** Ports of the host's own connects start here, above what a service would listen on. */
  private static final int FIRST_EPHEMERAL_PORT = 0x4000_0000;

  private final long guestCid;
  private final DescriptorChain chain;
  private final VsockHeader header = new VsockHeader();
  private final byte[] headerBytes = new byte[VsockHeader.BYTES];
  private final Map<Integer, Consumer<GuestConnection>> listeners = new HashMap<>();
  private final ConnectionTable connections = new ConnectionTable();
  private final OwedResets resets = new OwedResets();
  private final TransportReset transportReset = new TransportReset();
  private final Runnable throwFailure = this::throwFailure;
  private final Timer patience;
  private final RateLimiter fromGuest;
  private final RateLimiter toGuest;
  private final UserEvents events = new UserEvents(lock, this::execute);

  /** Connections that have packets for the guest, each once. */
  private final ArrayDeque<VsockConnection> output = new ArrayDeque<>();

  /** Connections whose data waits for {@link #toGuest}, each once, in their order. */
  private final ArrayDeque<VsockConnection> held = new ArrayDeque<>();

  private boolean patienceIsSet;
  private @Nullable Throwable failure;
  private int counted;
  private int grown;
  private int nextEphemeralPort = FIRST_EPHEMERAL_PORT;

  private boolean closed;

  /**
   * @param guestCid the guest's context identifier
   * @param limit of bytes of payload and of packets, for each direction; null for none
   */
  public VsockDevice(DeviceResources resources, int guestCid, @Nullable RateLimit limit) {
    this(resources, guestCid, limit, QUEUE_SIZE);
  }

  /** As the other, with queues of another largest size. */
  VsockDevice(
      DeviceResources resources, int guestCid, @Nullable RateLimit limit, int maximumQueueSize) {
    super(
        resources,
        "virtio-vsock",
        DEVICE_ID,
        F_STREAM,
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(guestCid).array(),
        maximumQueueSize,
        maximumQueueSize,
        maximumQueueSize);
    if (guestCid < VirtualMachine.FIRST_GUEST_CID) {
      throw new IllegalArgumentException("not a guest's context identifier: " + guestCid);
    }
    this.guestCid = guestCid;
    chain = new DescriptorChain(memory, maximumQueueSize);
    patience = resources.timer(this::onImpatience);
    fromGuest = new RateLimiter(limit, resources, () -> notified(TX));
    toGuest = new RateLimiter(limit, resources, this::releaseHeld);
  }

  // ---- the user's side

  /**
   * Accepts the guest's connections to a port, see {@link VirtualMachine#listen}.
   *
   * @throws IllegalArgumentException for VMADDR_PORT_ANY
   * @throws IllegalStateException when that port is being listened to, or the device is closed
   */
  public VirtualMachine.Listener listen(int port, Consumer<GuestConnection> onConnect) {
    checkPort(port);
    synchronized (lock) {
      if (closed) {
        throw new IllegalStateException("the virtual machine has ended");
      }
      if (listeners.putIfAbsent(port, onConnect) != null) {
        throw new IllegalStateException(
            "port " + VsockConnection.portName(port) + " is being listened to already");
      }
    }
    return () -> {
      synchronized (lock) {
        listeners.remove(port, onConnect);
      }
    };
  }

  /** Connects to a port of the guest, see {@link VirtualMachine#connect}. */
  public CompletableFuture<GuestConnection> connect(int port) {
    checkPort(port);
    CompletableFuture<GuestConnection> future = new CompletableFuture<>();
    VsockConnection connection;
    synchronized (lock) {
      if (closed || counted == MAXIMUM_CONNECTIONS) {
        String connecting = "connecting to port " + VsockConnection.portName(port) + ": ";
        future.completeExceptionally(
            closed
                ? new GuestLostException(connecting + "the virtual machine has ended")
                : new IOException(connecting + counted + " connections are open already"));
        return future;
      }
      connection = VsockConnection.connecting(this, ephemeralPort(port), port, future);
      add(connection);
      flushForUser();
    }
    CompletableFuture<?> ignored =
        future.whenComplete(
            (established, failure) -> {
              if (failure != null) {
                connection.close();
              }
            });
    return future;
  }

  private static void checkPort(int port) {
    if (port == PORT_ANY) {
      throw new IllegalArgumentException("4294967295 (VMADDR_PORT_ANY) is not a port");
    }
  }

  /** There are more ports than connections, so one is free. */
  private int ephemeralPort(int guestPort) {
    int port;
    do {
      port = nextEphemeralPort;
      nextEphemeralPort = port == Integer.MAX_VALUE ? FIRST_EPHEMERAL_PORT : port + 1;
    } while (connections.get(port, guestPort) != null);
    return port;
  }

  /**
   * Tells the guest that its connections are no more and ends them here: after the machine was
   * restored or copied (section 5.10.6.7). Nothing else is sent to the guest until it has
   * acknowledged.
   */
  public void transportReset() {
    synchronized (lock) {
      loseConnections("the virtual machine was restored");
      transportReset.owe();
      try {
        tellTransportReset();
      } catch (RuntimeException | Error e) {
        failLater(e);
      }
    }
    events.deliverIfLoopEnded();
  }

  // ---- what connections need; all with the lock held unless said

  Object lock() {
    return lock;
  }

  UserEvents events() {
    return events;
  }

  void outputMayBeReady(VsockConnection connection) {
    if (connection.inOutput) {
      return;
    }
    if (connection.hasOutput()) {
      connection.inOutput = true;
      output.add(connection);
    } else if (!connection.isHeld && toGuest.isWaiting() && connection.hasData()) {
      connection.isHeld = true;
      held.add(connection);
    }
  }

  /** Whether data must wait for the limit of what goes to the guest. */
  boolean holdsData() {
    return toGuest.isWaiting();
  }

  /**
   * How much of so many bytes of data may go to the guest as one packet, which then must go; 0 when
   * all data must wait.
   */
  int admitData(int length) {
    int piece = toGuest.piece(length);
    return piece > 0 && toGuest.admit(piece) ? piece : 0;
  }

  /** The limit lets data go again. On the event loop. */
  private void releaseHeld() {
    synchronized (lock) {
      for (int i = held.size(); i > 0; i--) {
        VsockConnection connection = held.remove();
        connection.isHeld = false;
        outputMayBeReady(connection);
      }
    }
    notified(RX);
  }

  /** Sends what can be sent, on a thread that must not see the guest's faults. */
  void flushForUser() {
    try {
      flush();
    } catch (RuntimeException | Error e) {
      failLater(e);
    }
  }

  /** When the guest's time is over that begins now; it will be looked for then. */
  long endOfPatience() {
    long end = resources().nanoTime() + PATIENCE_NANOS;
    if (!patienceIsSet) {
      patienceIsSet = true;
      patience.set(end);
    }
    return end;
  }

  /** Looks which connections have run out of time. On the event loop. */
  private void onImpatience() {
    synchronized (lock) {
      patienceIsSet = false;
      long now = resources().nanoTime();
      long soonest = Long.MAX_VALUE;
      for (VsockConnection connection : connections.toArray()) {
        soonest = Math.min(soonest, connection.timeLeft(now));
      }
      if (soonest != Long.MAX_VALUE) {
        patienceIsSet = true;
        patience.set(now + Math.max(soonest, LOOK_NANOS));
      }
    }
    notified(RX);
  }

  /** Copies from a user's buffer into the guest's, as long as nobody else waits for those. */
  void sendDirectly(VsockConnection connection, ByteBuffer source) {
    VirtQueue rx = rxOfNobody();
    if (rx == null) {
      return;
    }
    try {
      sendDirectly(rx, connection, source);
      interruptIfNeeded(rx);
    } catch (RuntimeException | Error e) {
      failLater(e);
    }
  }

  /** The same of several buffers, one after the other; the guest is interrupted once. */
  void sendDirectly(VsockConnection connection, ByteBuffer[] sources, int count) {
    VirtQueue rx = rxOfNobody();
    if (rx == null) {
      return;
    }
    try {
      for (int i = 0; i < count && (i == 0 || !sources[i - 1].hasRemaining()); i++) {
        sendDirectly(rx, connection, sources[i]);
      }
      interruptIfNeeded(rx);
    } catch (RuntimeException | Error e) {
      failLater(e);
    }
  }

  /** The queue of buffers for packets, unless somebody waits for those. */
  private @Nullable VirtQueue rxOfNobody() {
    return output.isEmpty() && held.isEmpty() && resets.isEmpty() ? rx() : null;
  }

  private void sendDirectly(VirtQueue rx, VsockConnection connection, ByteBuffer source) {
    while (connection.canSend(source) && popForPacket(rx)) {
      returnBuffer(rx, connection.emitDirectly(source, chain));
    }
  }

  /**
   * Writes a packet's header into a buffer of the guest.
   *
   * @return the whole packet's size in bytes
   */
  int putHeader(
      VsockConnection connection, int operation, int flags, int length, DescriptorChain buffer) {
    header.sourceCid = HOST_CID;
    header.destinationCid = guestCid;
    header.sourcePort = connection.hostPort();
    header.destinationPort = connection.guestPort();
    header.type = VsockHeader.STREAM;
    header.operation = operation;
    header.flags = flags;
    header.length = length;
    connection.describeCredit(header);
    return putHeader(buffer) + length;
  }

  private int putHeader(DescriptorChain buffer) {
    header.encode(headerBytes);
    buffer.write(0, headerBytes, 0, VsockHeader.BYTES);
    return VsockHeader.BYTES;
  }

  /** Whether a receive buffer may become so much larger; counts it if so. */
  boolean mayGrow(int bytes) {
    if (grown + bytes > GROWTH_BYTES) {
      return false;
    }
    grown += bytes;
    return true;
  }

  /** The connection has nothing more to say, and its ports may be used again. */
  void forget(VsockConnection connection) {
    connections.remove(connection);
    if (connection.inOutput) {
      // At once, and not in its turn, which a guest that takes no packets would never let come.
      connection.inOutput = false;
      boolean ignored = output.remove(connection);
    }
    if (connection.isHeld) {
      connection.isHeld = false;
      boolean ignored = held.remove(connection);
    }
  }

  /** How many connections count, for tests of the bounds. */
  int countedConnections() {
    synchronized (lock) {
      return counted;
    }
  }

  /** How many connections wait for their turn to speak, for tests of the bounds. */
  int waitingConnections() {
    synchronized (lock) {
      return output.size();
    }
  }

  /** How many connections wait for the limit, for tests of the bounds. */
  int heldConnections() {
    synchronized (lock) {
      return held.size();
    }
  }

  /** The connection holds nothing any more. */
  void released(int grownBytes) {
    counted--;
    grown -= grownBytes;
  }

  private void add(VsockConnection connection) {
    counted++;
    connections.add(connection);
    outputMayBeReady(connection);
  }

  // ---- packets to the guest

  /** The queue of buffers for packets, unless the guest must first forget its connections. */
  private @Nullable VirtQueue rx() {
    return transportReset.isAcknowledged() ? queue(RX) : null;
  }

  private boolean popForPacket(VirtQueue rx) {
    if (!rx.pop(chain)) {
      return false;
    }
    if (chain.writableBytes() <= VsockHeader.BYTES) {
      throw rx.fault(
          "a receive buffer of " + chain.writableBytes() + " bytes has no room for a packet");
    }
    return true;
  }

  /**
   * Gives each connection that has something to say one packet in turn, while there are buffers.
   */
  private void flush() {
    VirtQueue rx = rx();
    if (rx == null) {
      return;
    }
    boolean more = true;
    while (more) {
      while (outputWaits() && popForPacket(rx)) {
        returnBuffer(rx, emit());
      }
      // Only with something to say does a new buffer matter.
      more = outputWaits() && rx.requestNotifications();
    }
    interruptIfNeeded(rx);
  }

  /** Returns a buffer with a packet of that size, or has it wait where the limit let none go. */
  private void returnBuffer(VirtQueue rx, int size) {
    if (size == 0) {
      rx.putBack();
    } else {
      rx.push(chain, size);
    }
  }

  private boolean outputWaits() {
    if (!resets.isEmpty()) {
      return true;
    }
    VsockConnection first = output.peek();
    while (first != null && !first.hasOutput()) {
      output.remove().inOutput = false;
      outputMayBeReady(first);
      first = output.peek();
    }
    return first != null;
  }

  private int emit() {
    if (!resets.isEmpty()) {
      resets.take(header);
      header.destinationCid = guestCid;
      return putHeader(chain);
    }
    VsockConnection connection = output.remove();
    connection.inOutput = false;
    int size = connection.emit(chain);
    outputMayBeReady(connection);
    return size;
  }

  // ---- packets from the guest

  @Override
  protected void process(int queue) {
    boolean more;
    try {
      synchronized (lock) {
        events.willBeDelivered();
        if (queue == EVENT) {
          tellTransportReset();
        }
        flush();
        more = takePackets();
        flush();
      }
    } finally {
      events.deliver();
    }
    if (more) {
      // The rest after other devices and tasks, so that a busy guest keeps nobody waiting.
      processLater(TX);
    }
  }

  /**
   * Takes packets until there are none, or as many as the queue holds, or until the guest is owed
   * too many resets: then the next buffer it gives for one brings us back.
   *
   * @return whether there may be more
   */
  private boolean takePackets() {
    VirtQueue tx = queue(TX);
    if (tx == null) {
      return false;
    }
    int budget = tx.size();
    boolean more = false;
    do {
      tx.suppressNotifications();
      while (!resets.isFull() && budget > 0 && popWithinLimit(tx)) {
        budget--;
        takePacket();
        tx.push(chain, 0);
      }
      more = budget == 0;
    } while (!resets.isFull() && !more && !fromGuest.isWaiting() && tx.requestNotifications());
    interruptIfNeeded(tx);
    return more;
  }

  private boolean popWithinLimit(VirtQueue tx) {
    if (fromGuest.isWaiting() || !tx.pop(chain)) {
      return false;
    }
    if (fromGuest.admit(Math.max(0, chain.readableBytes() - VsockHeader.BYTES))) {
      return true;
    }
    tx.putBack();
    return false;
  }

  private void takePacket() {
    if (chain.writableBytes() > 0) {
      ignored(Ignored.DIRECTION);
    }
    if (chain.readableBytes() < VsockHeader.BYTES) {
      ignored(Ignored.PACKET);
      return;
    }
    chain.read(0, headerBytes, 0, VsockHeader.BYTES);
    header.decode(headerBytes);
    if (header.sourceCid != guestCid) {
      return;
    }
    if (header.destinationCid != HOST_CID || header.type != VsockHeader.STREAM) {
      refuse();
      return;
    }
    VsockConnection connection = connections.get(header.destinationPort, header.sourcePort);
    if (Integer.toUnsignedLong(header.length) > chain.readableBytes() - VsockHeader.BYTES) {
      ignored(Ignored.PACKET);
      if (connection != null) {
        connection.receiveTooLittle(header);
      } else {
        refuse();
      }
    } else if (connection != null) {
      connection.receive(header, chain);
    } else if (header.operation == VsockHeader.REQUEST) {
      accept();
    } else {
      refuse();
    }
  }

  private void accept() {
    Consumer<GuestConnection> listener = listeners.get(header.destinationPort);
    if (listener == null || counted == MAXIMUM_CONNECTIONS) {
      refuse();
      return;
    }
    VsockConnection connection = VsockConnection.accepted(this, header, listener);
    add(connection);
    events.add(connection);
  }

  /** Answers a packet that belongs to no connection; a reset is not answered. */
  private void refuse() {
    if (header.operation != VsockHeader.RESET) {
      resets.add(header);
    }
  }

  // ---- transport reset

  private void tellTransportReset() {
    VirtQueue event = queue(EVENT);
    if (event == null) {
      return;
    }
    transportReset.tell(event, chain);
    interruptIfNeeded(event);
  }

  // ---- the end

  @Override
  protected void onReset() {
    loseConnections(
        closed ? "the virtual machine has ended" : "the guest's socket device was reset");
    resets.clear();
    transportReset.forget();
  }

  @Override
  protected void afterReset() {
    events.deliverIfLoopEnded();
  }

  private void loseConnections(String why) {
    for (VsockConnection connection : connections.toArray()) {
      if (closed || connection.guestHasSeenIt()) {
        connection.lostWithAll(why);
      }
    }
  }

  /**
   * Ends the machine from a thread that is not its own, for a buffer of the guest may be lost. An
   * error is that thread's, too.
   */
  private void failLater(Throwable cause) {
    if (failure == null) {
      failure = cause;
    }
    deactivate();
    boolean ignored = execute(throwFailure);
    if (cause instanceof Error error) {
      throw error;
    }
  }

  private void throwFailure() {
    Throwable cause;
    synchronized (lock) {
      cause = failure;
    }
    if (cause instanceof RuntimeException exception) {
      throw exception;
    } else if (cause instanceof Error error) {
      throw error;
    }
  }

  /**
   * Ends all connections: their users read what has arrived, then get an IOException. No thread
   * touches the guest's memory through this device any more.
   */
  @Override
  public void close() {
    synchronized (lock) {
      closed = true;
      listeners.clear();
      super.close();
    }
    events.deliverIfLoopEnded();
  }
}
