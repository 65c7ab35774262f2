// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.virtio;

import dev.nacelle.kvm.device.virtio.vsock.VsockDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.spi.GuestConnection;
import java.io.IOException;
import java.nio.ByteBuffer;
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

  private static final int EVENT_IDX = 1 << 29;
  private static final int TX = 1;

  /** Bytes of payload. */
  @Param({"64", "4096"})
  public int bytes;

  private Machine machine;
  private VsockDevice device;
  private DriverRing rx;
  private DriverRing tx;
  private GuestConnection connection;
  private ByteBuffer buffer;
  private int received;
  private int sent;

  /** JMH calls {@link #setUp}. */
  @SuppressWarnings("NullAway.Init")
  public VsockBenchmark() {}

  /** Starts the device and lets the guest connect to the host. */
  @Setup
  public void setUp() {
    machine = new Machine(32 << 20);
    device = new VsockDevice(machine, CID, null);
    rx = new DriverRing(machine.memory(), SIZE, 0x10_0000, RX_BUFFER, true);
    tx = new DriverRing(machine.memory(), SIZE, 0x80_0000, TX_BUFFER, false);
    DriverRing events = new DriverRing(machine.memory(), 8, 0x1000, 8, true);
    machine.start(device, EVENT_IDX, rx.layout(), tx.layout(), events.layout());
    for (int i = 0; i < SIZE; i++) {
      rx.offer();
    }
    buffer = ByteBuffer.allocateDirect(bytes);
    var ignored = device.listen(PORT, accepted -> connection = accepted);
    send(REQUEST, 0);
    takeAll();
  }

  /** Puts a packet into the queue and rings. */
  private void send(int operation, int length) {
    GuestMemory memory = machine.memory();
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
    machine.ring(TX);
    if (tx.take() < 0) {
      throw new IllegalStateException("the device took no packet");
    }
  }

  /** Takes what came, and gives the buffers back; returns the bytes of payload. */
  private int takeAll() {
    int taken = 0;
    for (int i = rx.take(); i >= 0; i = rx.take()) {
      taken += machine.memory().getInt(rx.buffer(i) + 24);
      rx.offer();
    }
    return taken;
  }

  /** Unmaps. */
  @TearDown
  public void tearDown() {
    device.close();
    machine.close();
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
