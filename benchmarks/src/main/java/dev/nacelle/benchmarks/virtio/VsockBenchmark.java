// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.virtio;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.Timer;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import dev.nacelle.kvm.device.virtio.QueueLayout;
import dev.nacelle.kvm.device.virtio.vsock.VsockDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * One packet of data through the socket device, in each direction, with the credit that flows back.
 * Doorbells and interrupts, which are system calls in a machine, cost nothing here.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class VsockBenchmark {
  private static final int SIZE = 128;
  private static final int HEADER = 44;
  private static final int RX_BUFFER = HEADER + 4096;
  private static final int TX_BUFFER = HEADER + 65_536;
  private static final int CID = 3;
  private static final int PORT = 80;
  private static final int REQUEST = 1;
  private static final int DATA = 5;
  private static final int CREDIT_UPDATE = 6;

  // Registers, virtio 1.2 section 4.2.2
  private static final int DRIVER_FEATURES = 0x20;
  private static final int DRIVER_FEATURES_SEL = 0x24;
  private static final int QUEUE_SEL = 0x30;
  private static final int QUEUE_SIZE = 0x38;
  private static final int QUEUE_READY = 0x44;
  private static final int STATUS = 0x70;

  /** Bytes of payload. */
  @Param({"64", "4096"})
  public int bytes;

  private Machine machine;
  private VsockDevice device;
  private MmioTransport transport;
  private DriverRing rx;
  private DriverRing tx;
  private GuestConnection connection;
  private ByteBuffer buffer;
  private int received;
  private int sent;

  /** JMH calls {@link #setUp}. */
  @SuppressWarnings("NullAway.Init")
  public VsockBenchmark() {}

  /** A machine without one: what the device wants done is done on the benchmark's thread. */
  private static final class Machine implements DeviceResources {
    final GuestMemory memory = GuestMemory.allocate(32 << 20);
    final Runnable[] doorbells = new Runnable[3];
    final ArrayDeque<Runnable> tasks = new ArrayDeque<>();

    @Override
    public GuestMemory memory() {
      return memory;
    }

    @Override
    public InterruptLine interrupt() {
      return () -> {};
    }

    @Override
    public void doorbell(long offset, int value, Runnable onWrite) {
      doorbells[value] = onWrite;
    }

    @Override
    public void watch(Pollable source, Runnable handler) {
      throw new UnsupportedOperationException();
    }

    @Override
    public boolean execute(Runnable task) {
      return tasks.add(task);
    }

    @Override
    public long nanoTime() {
      return System.nanoTime();
    }

    /** No benchmark takes as long as a guest has time. */
    @Override
    public Timer timer(Runnable onTime) {
      return time -> {};
    }

    void runTasks() {
      for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
        task.run();
      }
    }
  }

  /** Starts the device and lets the guest connect to the host. */
  @Setup
  public void setUp() {
    machine = new Machine();
    device = new VsockDevice(machine, CID, null);
    transport = new MmioTransport(device);
    rx = new DriverRing(machine.memory, SIZE, 0x10_0000, RX_BUFFER, true);
    tx = new DriverRing(machine.memory, SIZE, 0x80_0000, TX_BUFFER, false);
    DriverRing events = new DriverRing(machine.memory, 8, 0x1000, 8, true);
    write(STATUS, 1);
    write(STATUS, 3);
    write(DRIVER_FEATURES_SEL, 0);
    write(DRIVER_FEATURES, 1 << 29);
    write(DRIVER_FEATURES_SEL, 1);
    write(DRIVER_FEATURES, 1);
    write(STATUS, 11);
    configure(0, rx.layout());
    configure(1, tx.layout());
    configure(2, events.layout());
    write(STATUS, 15);
    machine.runTasks();
    for (int i = 0; i < SIZE; i++) {
      rx.offer();
    }
    buffer = ByteBuffer.allocateDirect(bytes);
    var ignored = device.listen(PORT, accepted -> connection = accepted);
    send(REQUEST, 0);
    takeAll();
  }

  private void write(int register, int value) {
    transport.write(register, 4, Integer.toUnsignedLong(value));
  }

  private void configure(int queue, QueueLayout layout) {
    write(QUEUE_SEL, queue);
    write(QUEUE_SIZE, layout.size());
    write(0x80, (int) layout.descriptors());
    write(0x90, (int) layout.available());
    write(0xa0, (int) layout.used());
    write(QUEUE_READY, 1);
  }

  /** Puts a packet into the queue and rings. */
  private void send(int operation, int length) {
    GuestMemory memory = machine.memory;
    int i = tx.next();
    long at = tx.buffer(i);
    memory.putLong(at, CID);
    memory.putLong(at + 8, 2);
    memory.putInt(at + 16, 1);
    memory.putInt(at + 20, PORT);
    memory.putInt(at + 24, length);
    memory.putInt(at + 28, 1 | operation << 16);
    memory.putInt(at + 32, 0);
    memory.putInt(at + 36, 1 << 20);
    memory.putInt(at + 40, received);
    tx.offer();
    machine.doorbells[1].run();
    if (tx.take() < 0) {
      throw new IllegalStateException("the device took no packet");
    }
  }

  /** Takes what came, and gives the buffers back; returns the bytes of payload. */
  private int takeAll() {
    int taken = 0;
    for (int i = rx.take(); i >= 0; i = rx.take()) {
      taken += machine.memory.getInt(rx.buffer(i) + 24);
      rx.offer();
    }
    return taken;
  }

  /** Unmaps. */
  @TearDown
  public void tearDown() {
    device.close();
    machine.memory.close();
  }

  /** The host writes, the guest gets a packet and tells its credit now and then. */
  @Benchmark
  public int hostToGuest() throws IOException {
    buffer.clear();
    if (connection.write(buffer) != bytes) {
      throw new IllegalStateException("no room");
    }
    int taken = takeAll();
    int before = received;
    received += taken;
    if ((before ^ received) >>> 18 != 0) {
      send(CREDIT_UPDATE, 0);
    }
    return taken;
  }

  /** The guest sends a packet, the host reads it, and tells its credit now and then. */
  @Benchmark
  public int guestToHost() throws IOException {
    send(DATA, bytes);
    sent += bytes;
    buffer.clear();
    if (connection.read(buffer) != bytes) {
      throw new IllegalStateException("nothing came");
    }
    return takeAll();
  }
}
