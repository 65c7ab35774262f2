// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.DescriptorChain;
import dev.nacelle.kvm.device.virtio.VirtQueue;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.spi.GuestConnection;
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
 * <p>A malformed packet (shorter than its header, longer than its buffer) ends the machine; one
 * that breaks the protocol resets its connection; one with another source than the guest is dropped
 * (section 5.10.6.4).
 *
 * <p>What a guest can make the host hold is bounded. There are at most {@link
 * #MAXIMUM_CONNECTIONS}; each holds at most {@link ReceiveWindow#INITIAL_BYTES} that its user has
 * not read, and {@link #GROWTH_BYTES} more all together: 64 MiB. Besides, each holds at most {@link
 * VsockConnection#SEND_BYTES} that its user has written and the guest has not taken, closed ones
 * included: 128 MiB where a service writes that much to each of so many. Resets for packets of no
 * connection are {@link OwedResets bounded} by not taking further packets.
 */
public final class VsockDevice extends VirtioDevice {
  /** Connections at a time, including those whose last bytes the user has not read. */
  public static final int MAXIMUM_CONNECTIONS = 2048;

  /** By how many bytes all receive buffers together may grow beyond their first size. */
  static final int GROWTH_BYTES = 32 * 1024 * 1024;

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
  private final DescriptorChain chain = new DescriptorChain(memory, QUEUE_SIZE);
  private final VsockHeader header = new VsockHeader();
  private final byte[] headerBytes = new byte[VsockHeader.BYTES];
  private final Map<Integer, Consumer<GuestConnection>> listeners = new HashMap<>();
  private final ConnectionTable connections = new ConnectionTable();
  private final OwedResets resets = new OwedResets();
  private final TransportReset transportReset = new TransportReset();
  private final Runnable takeMorePackets = this::takeMorePackets;
  private final UserEvents events = new UserEvents(lock, this::execute);

  /** Connections that have packets for the guest, each once. */
  private final ArrayDeque<VsockConnection> output = new ArrayDeque<>();

  private int counted;
  private int grown;
  private int nextEphemeralPort = FIRST_EPHEMERAL_PORT;

  private boolean closed;

  /**
   * @param guestCid the guest's context identifier
   */
  public VsockDevice(DeviceResources resources, int guestCid) {
    super(
        resources,
        "virtio-vsock",
        DEVICE_ID,
        F_STREAM,
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(guestCid).array(),
        QUEUE_SIZE,
        QUEUE_SIZE,
        QUEUE_SIZE);
    if (guestCid < VirtualMachine.FIRST_GUEST_CID) {
      throw new IllegalArgumentException("not a guest's context identifier: " + guestCid);
    }
    this.guestCid = guestCid;
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
        String why =
            closed ? "the virtual machine has ended" : counted + " connections are open already";
        future.completeExceptionally(
            new IOException("connecting to port " + VsockConnection.portName(port) + ": " + why));
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
      } catch (RuntimeException e) {
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
    if (!connection.inOutput && connection.hasOutput()) {
      connection.inOutput = true;
      output.add(connection);
    }
  }

  /** Sends what can be sent, on a thread that must not see the guest's faults. */
  void flushForUser() {
    try {
      flush();
    } catch (RuntimeException e) {
      failLater(e);
    }
  }

  /** Copies from a user's buffer into the guest's, as long as nobody else waits for those. */
  void sendDirectly(VsockConnection connection, ByteBuffer source) {
    VirtQueue rx = rx();
    if (rx == null || !output.isEmpty() || !resets.isEmpty()) {
      return;
    }
    try {
      while (connection.canSend(source) && popForPacket(rx)) {
        rx.push(chain, connection.emitDirectly(source, chain));
      }
      interruptIfNeeded(rx);
    } catch (RuntimeException e) {
      failLater(e);
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
        rx.push(chain, emit());
      }
      // Only with something to say does a new buffer matter.
      more = outputWaits() && rx.requestNotifications();
    }
    interruptIfNeeded(rx);
  }

  private boolean outputWaits() {
    if (!resets.isEmpty()) {
      return true;
    }
    VsockConnection first = output.peek();
    while (first != null && !first.hasOutput()) {
      output.remove().inOutput = false;
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
      boolean ignored = execute(takeMorePackets);
    }
  }

  private void takeMorePackets() {
    notified(TX);
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
      while (!resets.isFull() && budget > 0 && tx.pop(chain)) {
        budget--;
        takePacket(tx);
        tx.push(chain, 0);
      }
      more = budget == 0;
    } while (!resets.isFull() && !more && tx.requestNotifications());
    interruptIfNeeded(tx);
    return more;
  }

  private void takePacket(VirtQueue tx) {
    if (chain.writableBytes() > 0) {
      throw tx.fault("a packet in a device-writable buffer");
    }
    if (chain.readableBytes() < VsockHeader.BYTES) {
      throw tx.fault("a packet of " + chain.readableBytes() + " bytes, shorter than its header");
    }
    chain.read(0, headerBytes, 0, VsockHeader.BYTES);
    header.decode(headerBytes);
    long length = Integer.toUnsignedLong(header.length);
    if (length > chain.readableBytes() - VsockHeader.BYTES) {
      throw tx.fault(
          "a packet with a payload of "
              + length
              + " bytes in a buffer of "
              + chain.readableBytes()
              + " bytes");
    }
    if (header.sourceCid != guestCid) {
      return;
    }
    if (header.destinationCid != HOST_CID || header.type != VsockHeader.STREAM) {
      refuse();
      return;
    }
    VsockConnection connection = connections.get(header.destinationPort, header.sourcePort);
    if (connection != null) {
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
        connection.lost(why);
      }
    }
  }

  /** Ends the machine from a thread that is not its own. */
  private void failLater(RuntimeException failure) {
    deactivate();
    boolean ignored =
        execute(
            () -> {
              throw failure;
            });
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
