// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.LoopDeviceResources;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The guest's end of a socket device: sends and receives single packets, right or wrong. */
final class VsockGuest implements AutoCloseable {
  static final int CID = 3;
  static final int MEMORY = 32 << 20;
  private static final int TX_BYTES = Packet.HEADER + (64 << 10);
  static final int RX = 0;
  static final int TX = 1;
  static final int EVENT = 2;

  final VsockDevice device;
  final MmioTransport transport;
  final DriverFixture driver;
  private final Runnable runTasks;
  private final @Nullable FakeDeviceResources fake;
  private final AutoCloseable resources;
  private DriverQueue rx;
  private DriverQueue tx;
  private DriverQueue events;
  private final ArrayDeque<Segment> freeRx = new ArrayDeque<>();
  private final Map<Integer, Segment> givenRx = new HashMap<>();
  private final ArrayDeque<Segment> freeTx = new ArrayDeque<>();
  private final Map<Integer, Segment> givenTx = new HashMap<>();

  /** A guest whose driver has started, with so many receive buffers of so many bytes. */
  VsockGuest(int buffers, int bytes) {
    this(DriverFixture.VERSION_1 | DriverFixture.EVENT_IDX);
    giveBuffers(buffers, bytes);
  }

  /** A guest whose driver has started, without receive buffers. */
  VsockGuest(long features) {
    this(features, null);
  }

  /** Likewise, with a limit for each direction. */
  VsockGuest(long features, @Nullable RateLimit limit) {
    FakeDeviceResources fake = new FakeDeviceResources(MEMORY);
    device = new VsockDevice(fake, CID, limit);
    this.fake = fake;
    transport = new MmioTransport(device);
    driver = new DriverFixture(fake, transport);
    runTasks = fake::runTasks;
    resources = fake;
    start(features);
  }

  /** Likewise; the device works on a thread of its own. */
  VsockGuest(LoopDeviceResources resources, long features) {
    device = new VsockDevice(resources, CID, null);
    fake = null;
    transport = new MmioTransport(device);
    driver = new DriverFixture(resources, transport);
    runTasks = () -> {};
    this.resources = resources;
    start(features);
  }

  /** Runs what waits on the device's event loop. */
  void runTasks() {
    runTasks.run();
  }

  /** The machine, where the device works on the test's thread. */
  FakeDeviceResources machine() {
    return Objects.requireNonNull(fake);
  }

  /** Lets time go by there. */
  void advance(Duration duration) {
    machine().advance(duration);
  }

  /** Resets the device and starts over. */
  void start(long features) {
    driver.negotiate(features);
    rx = driver.configure(RX, 128);
    tx = driver.configure(TX, 128);
    events = driver.configure(EVENT, 8);
    freeRx.clear();
    givenRx.clear();
    freeTx.clear();
    givenTx.clear();
    for (int i = 0; i < 128; i++) {
      freeTx.add(new Segment(driver.allocate(TX_BYTES, 1), TX_BYTES, false));
    }
    driver.driverOk();
  }

  DriverQueue rx() {
    return rx;
  }

  DriverQueue tx() {
    return tx;
  }

  DriverQueue events() {
    return events;
  }

  /** Makes new receive buffers available. */
  void giveBuffers(int count, int bytes) {
    postBuffers(count, bytes);
    rx.kick();
  }

  /** Makes new receive buffers available without a word. */
  void postBuffers(int count, int bytes) {
    for (int i = 0; i < count; i++) {
      give(new Segment(driver.allocate(bytes, 1), bytes, true));
    }
  }

  private void give(Segment segment) {
    givenRx.put(rx.offer(segment), segment);
  }

  /** Gives back as many buffers as were taken by {@link #receiveKeeping}. */
  void returnBuffers(int count) {
    for (int i = 0; i < count && !freeRx.isEmpty(); i++) {
      give(freeRx.remove());
    }
    rx.kick();
  }

  /** Whether so many bytes can still be allocated. */
  boolean hasMemoryFor(long bytes) {
    return driver.hasMemoryFor(bytes);
  }

  /** Sends a packet and lets the device work. */
  void send(Packet packet) {
    post(packet);
    tx.kick();
  }

  /** Puts a packet into the queue without a word. */
  void post(Packet packet) {
    reclaim();
    Segment slot = freeTx.remove();
    byte[] bytes = packet.encode();
    driver.memory().putBytes(slot.address(), bytes, 0, bytes.length);
    givenTx.put(tx.offer(new Segment(slot.address(), bytes.length, false)), slot);
  }

  /** How many packets the device has not taken yet. */
  int untaken() {
    reclaim();
    return givenTx.size();
  }

  private void reclaim() {
    for (var used = tx.take(); used.isPresent(); used = tx.take()) {
      freeTx.add(givenTx.remove(used.get().head()));
    }
  }

  /** The next packet from the host, or null; its buffer is given back at once. */
  @Nullable Packet receive() {
    Packet packet = receiveKeeping();
    if (packet != null) {
      returnBuffers(1);
    }
    return packet;
  }

  /** The next packet from the host, or null; its buffer is kept. */
  @Nullable Packet receiveKeeping() {
    var used = rx.take();
    if (used.isEmpty()) {
      return null;
    }
    Segment segment = givenRx.remove(used.get().head());
    Packet packet = Packet.decode(driver.bytes(segment.address(), used.get().written()));
    freeRx.add(segment);
    return packet;
  }

  @Override
  public void close() {
    device.close();
    try {
      resources.close();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }
}
