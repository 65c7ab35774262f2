// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.virtio;

import dev.nacelle.kvm.device.virtio.QueueLayout;
import dev.nacelle.kvm.device.virtio.block.BlockDevice;
import dev.nacelle.kvm.device.virtio.block.DiskEngine;
import dev.nacelle.kvm.device.virtio.block.SynchronousEngine;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** Requests through the block device to an image that the host has in memory, and back. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class BlockBenchmark {
  private static final int IMAGE_BYTES = 64 << 20;
  private static final int DEPTH = 32;
  private static final int FEW = 8;
  private static final int SEQUENTIAL = 64;
  private static final int QUEUE_SIZE = 256;

  // Where the guest has what.
  private static final long QUEUE = 0x1000;
  private static final long AVAILABLE = 0x3000;
  private static final long USED = 0x4000;
  private static final long TABLES = 0x10_0000;
  private static final long TABLE_BYTES = 0x1000;
  private static final long HEADERS = 0x40_0000;
  private static final long DATA = 0x100_0000;

  /** VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_BLK_F_FLUSH. */
  private static final int FEATURES = 1 << 29 | 1 << 28 | 1 << 9;

  /** How the host reads and writes: plain system calls, or io_uring where there is one. */
  @Param({"synchronous", "best"})
  public String engine;

  /** What the guest does. */
  @Param({"read", "write"})
  public String direction;

  private final SplittableRandom random = new SplittableRandom(1);
  private Path image;
  private Machine machine;
  private BlockDevice device;
  private int offered;

  /** JMH calls {@link #setUp}. */
  @SuppressWarnings("NullAway.Init")
  public BlockBenchmark() {}

  /** Makes the image, the device and the driver's queue. */
  @Setup
  public void setUp() throws IOException {
    image = Files.createTempFile("benchmark", ".img");
    Files.write(image, new byte[IMAGE_BYTES]);
    machine = new Machine(96 << 20);
    FileDescriptor file = FileDescriptor.openFile(image, true);
    DiskEngine disk = engine.equals("best") ? DiskEngine.of(file) : new SynchronousEngine(file);
    device = new BlockDevice(machine, disk, false, "benchmark");
    machine.start(device, FEATURES, new QueueLayout(QUEUE_SIZE, QUEUE, AVAILABLE, USED));
  }

  /** Unmaps. */
  @TearDown
  public void tearDown() throws IOException {
    device.close();
    machine.close();
    Files.delete(image);
  }

  /** Offers a request by an indirect table. */
  private void offer(int slot, long position, int segments, int segmentBytes) {
    GuestMemory memory = machine.memory();
    boolean read = direction.equals("read");
    long header = HEADERS + 32L * slot;
    memory.putLong(header, read ? 0 : 1);
    memory.putLong(header + 8, position / BlockDevice.SECTOR_BYTES);
    long table = TABLES + TABLE_BYTES * slot;
    descriptor(table, 0, header, 16, 1);
    long data = DATA + (long) slot * segments * segmentBytes;
    for (int i = 1; i <= segments; i++) {
      descriptor(table, i, data + (long) (i - 1) * segmentBytes, segmentBytes, read ? 3 : 1);
    }
    descriptor(table, segments + 1, header + 16, 1, 2);
    memory.putLong(QUEUE + 16L * slot, table);
    memory.putInt(QUEUE + 16L * slot + 8, 16 * (segments + 2));
    memory.putInt(QUEUE + 16L * slot + 12, 4);
    memory.putShort(AVAILABLE + 4 + 2L * (offered % QUEUE_SIZE), (short) slot);
    offered++;
    memory.putShortRelease(AVAILABLE + 2, (short) offered);
  }

  private void descriptor(long table, int index, long address, int length, int flags) {
    machine.memory().putLong(table + 16L * index, address);
    machine.memory().putInt(table + 16L * index + 8, length);
    machine.memory().putInt(table + 16L * index + 12, flags | (index + 1) << 16);
  }

  /** Rings, and waits until everything is back; returns the last status. */
  private int finish(int slot) {
    machine.ring(0);
    while (machine.memory().getShortAcquire(USED + 2) != (short) offered) {
      machine.turn();
    }
    int status = machine.memory().getByte(HEADERS + 32L * slot + 16);
    if (status != 0) {
      throw new IllegalStateException("status " + status);
    }
    return status;
  }

  private long anywhere() {
    return (long) random.nextInt(IMAGE_BYTES >> 12) << 12;
  }

  /** One request of 32 segments of 4 KiB. */
  @Benchmark
  public int segments32() {
    offer(0, anywhere() & -(1 << 17), 32, 4096);
    return finish(0);
  }

  /** 4 KiB anywhere, one after the other. */
  @Benchmark
  public int random4KibDepth1() {
    offer(0, anywhere(), 1, 4096);
    return finish(0);
  }

  /** 4 KiB anywhere, 8 at a time; the time for one. */
  @Benchmark
  @OperationsPerInvocation(FEW)
  public int random4KibDepth8() {
    return together(FEW);
  }

  /** 4 KiB anywhere, 32 at a time; the time for one. */
  @Benchmark
  @OperationsPerInvocation(DEPTH)
  public int random4KibDepth32() {
    return together(DEPTH);
  }

  private int together(int depth) {
    for (int i = 0; i < depth; i++) {
      offer(i, anywhere(), 1, 4096);
    }
    return finish(depth - 1);
  }

  /** 64 MiB in 64 requests of 16 segments; the time for all. */
  @Benchmark
  public int sequential64Mib() {
    for (int i = 0; i < SEQUENTIAL; i++) {
      offer(i, (long) i << 20, 16, 1 << 16);
    }
    return finish(SEQUENTIAL - 1);
  }
}
