// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.memory.GuestMemory;
import java.util.function.IntConsumer;

/**
 * The guest's side of a virtio-mmio device: its registers, and queues in guest memory. Polite
 * unless a test uses the raw accessors.
 */
public final class DriverFixture {
  // Registers, virtio 1.2 section 4.2.2; written again here, so that a wrong number is found.
  public static final int DEVICE_FEATURES = 0x10;
  public static final int DEVICE_FEATURES_SEL = 0x14;
  public static final int DRIVER_FEATURES = 0x20;
  public static final int DRIVER_FEATURES_SEL = 0x24;
  public static final int QUEUE_SEL = 0x30;
  public static final int QUEUE_SIZE_MAX = 0x34;
  public static final int QUEUE_SIZE = 0x38;
  public static final int QUEUE_READY = 0x44;
  public static final int QUEUE_NOTIFY = 0x50;
  public static final int INTERRUPT_STATUS = 0x60;
  public static final int INTERRUPT_ACK = 0x64;
  public static final int STATUS = 0x70;
  public static final int QUEUE_DESC = 0x80;
  public static final int QUEUE_DRIVER = 0x90;
  public static final int QUEUE_DEVICE = 0xa0;

  public static final long VERSION_1 = 1L << 32;
  public static final long EVENT_IDX = 1L << 29;
  public static final long INDIRECT_DESC = 1L << 28;

  /** Where the fixture puts queues and buffers; tests may use what is below. */
  public static final long FIRST_ALLOCATION = 0x10_000;

  private final GuestMemory memory;
  private final MmioTransport transport;
  private final IntConsumer doorbell;
  private long nextFree = FIRST_ALLOCATION;
  private long features;

  /** A driver that has not touched the device yet; the device works on the test's thread. */
  public DriverFixture(FakeDeviceResources resources, MmioTransport transport) {
    this(
        resources.memory(),
        transport,
        queue -> {
          if (queue >= 0) {
            resources.ring(QUEUE_NOTIFY, queue);
          }
          resources.runTasks();
        });
  }

  /** Likewise; the device works on a thread of its own. */
  public DriverFixture(LoopDeviceResources resources, MmioTransport transport) {
    this(
        resources.memory(),
        transport,
        queue -> {
          if (queue >= 0) {
            resources.ring(queue);
          }
        });
  }

  /**
   * @param doorbell gets the queue that is rung for; -1 after DRIVER_OK
   */
  private DriverFixture(GuestMemory memory, MmioTransport transport, IntConsumer doorbell) {
    this.memory = memory;
    this.transport = transport;
    this.doorbell = doorbell;
  }

  /** The guest's memory. */
  public GuestMemory memory() {
    return memory;
  }

  /** Reads a register. */
  public int read(int register) {
    return (int) transport.read(register, 4);
  }

  /** Writes a register. */
  public void write(int register, int value) {
    transport.write(register, 4, Integer.toUnsignedLong(value));
  }

  /** Writes a pair of registers. */
  public void write64(int register, long value) {
    write(register, (int) value);
    write(register + 4, (int) (value >>> 32));
  }

  /** What the device offers. */
  public long offeredFeatures() {
    write(DEVICE_FEATURES_SEL, 0);
    long low = Integer.toUnsignedLong(read(DEVICE_FEATURES));
    write(DEVICE_FEATURES_SEL, 1);
    return low | (long) read(DEVICE_FEATURES) << 32;
  }

  /** Reset to DRIVER. */
  public void acknowledge() {
    write(STATUS, 0);
    write(STATUS, 1);
    write(STATUS, 1 | 2);
  }

  /** Reset to FEATURES_OK, accepting these features. */
  public void negotiate(long features) {
    acknowledge();
    this.features = features;
    write(DRIVER_FEATURES_SEL, 0);
    write(DRIVER_FEATURES, (int) features);
    write(DRIVER_FEATURES_SEL, 1);
    write(DRIVER_FEATURES, (int) (features >>> 32));
    write(STATUS, 1 | 2 | 8);
    if ((read(STATUS) & 8) == 0) {
      throw new IllegalStateException("features refused: " + Long.toHexString(features));
    }
  }

  /** Allocates and configures a queue; between negotiate and driverOk. */
  public DriverQueue configure(int queue, int size) {
    DriverQueue made =
        new DriverQueue(
            this,
            queue,
            size,
            allocate(16L * size, 16),
            allocate(6 + 2L * size, 2),
            allocate(6 + 8L * size, 4));
    configureRaw(queue, size, made.descriptors(), made.available(), made.used());
    return made;
  }

  /** Configures a queue with any values. */
  public void configureRaw(int queue, int size, long descriptors, long available, long used) {
    write(QUEUE_SEL, queue);
    write(QUEUE_SIZE, size);
    write64(QUEUE_DESC, descriptors);
    write64(QUEUE_DRIVER, available);
    write64(QUEUE_DEVICE, used);
    write(QUEUE_READY, 1);
  }

  /** The device is live; what it does at once, it does. */
  public void driverOk() {
    write(STATUS, 1 | 2 | 4 | 8);
    doorbell.accept(-1);
  }

  /** Whether a feature was negotiated. */
  public boolean negotiated(long feature) {
    return (features & feature) != 0;
  }

  /** Rings for a queue, as the guest's write to QueueNotify does, and lets the device work. */
  public void ring(int queue) {
    doorbell.accept(queue);
  }

  /** Zeroed guest memory; never freed. */
  public long allocate(long bytes, int alignment) {
    long address = (nextFree + alignment - 1) & -alignment;
    nextFree = address + bytes;
    if (!memory.contains(address, bytes)) {
      throw new IllegalStateException("the fixture's guest is out of memory");
    }
    return address;
  }

  /** Whether so many bytes can still be allocated, with some to spare for alignment. */
  public boolean hasMemoryFor(long bytes) {
    return memory.contains(nextFree, bytes + 4096);
  }

  /** Guest memory with content. */
  public long allocate(byte[] content) {
    long address = allocate(content.length, 1);
    memory.putBytes(address, content, 0, content.length);
    return address;
  }

  /** A copy of guest memory. */
  public byte[] bytes(long address, int length) {
    byte[] copy = new byte[length];
    memory.getBytes(address, copy, 0, length);
    return copy;
  }
}
