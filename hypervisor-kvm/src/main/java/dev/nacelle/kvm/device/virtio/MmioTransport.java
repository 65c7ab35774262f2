// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.DiskUse;
import dev.nacelle.kvm.device.AttachedDevice;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The register file of a virtio device over MMIO, version 2 (virtio 1.2 section 4.2.2), and the
 * state machine of its device status (sections 2.1 and 3.1).
 *
 * <p>What a queue is is latched and checked at DRIVER_OK. What is written to its registers at
 * another time is taken and has no effect: drivers clear them when they tidy up. A write that the
 * specification forbids is {@link Ignored}, and a read that it forbids gives 0: nothing that is
 * written to a register ends the machine, except DRIVER_OK with a queue that is none.
 */
public final class MmioTransport implements AttachedDevice {
  /** Size of the device's range in bytes: the page that Linux' driver maps. */
  public static final int SIZE = 0x1000;

  // Registers, virtio 1.2 section 4.2.2
  private static final int MAGIC_VALUE = 0x000;
  private static final int VERSION = 0x004;
  private static final int DEVICE_ID = 0x008;
  private static final int VENDOR_ID = 0x00c;
  private static final int DEVICE_FEATURES = 0x010;
  private static final int DEVICE_FEATURES_SEL = 0x014;
  private static final int DRIVER_FEATURES = 0x020;
  private static final int DRIVER_FEATURES_SEL = 0x024;
  private static final int QUEUE_SEL = 0x030;
  private static final int QUEUE_SIZE_MAX = 0x034;
  private static final int QUEUE_SIZE = 0x038;
  private static final int QUEUE_READY = 0x044;

  /** QueueNotify, for doorbells. */
  static final int QUEUE_NOTIFY = 0x050;

  private static final int INTERRUPT_STATUS = 0x060;
  private static final int INTERRUPT_ACK = 0x064;
  private static final int STATUS = 0x070;
  private static final int QUEUE_DESC_LOW = 0x080;
  private static final int QUEUE_DESC_HIGH = 0x084;
  private static final int QUEUE_DRIVER_LOW = 0x090;
  private static final int QUEUE_DRIVER_HIGH = 0x094;
  private static final int QUEUE_DEVICE_LOW = 0x0a0;
  private static final int QUEUE_DEVICE_HIGH = 0x0a4;
  private static final int SHM_SEL = 0x0ac;
  private static final int SHM_LEN_LOW = 0x0b0;
  private static final int SHM_BASE_HIGH = 0x0bc;
  private static final int CONFIG_GENERATION = 0x0fc;
  private static final int CONFIG = 0x100;

  private static final int MAGIC = 0x74726976;
  private static final int VIRTIO_MMIO_VERSION = 2;

  /** Of our choice; the letters {@code NACL}. */
  private static final int VENDOR = 0x4c43414e;

  // Device status, virtio 1.2 section 2.1
  static final int ACKNOWLEDGE = 1;
  static final int DRIVER = 2;
  static final int DRIVER_OK = 4;
  static final int FEATURES_OK = 8;
  static final int DEVICE_NEEDS_RESET = 64;
  static final int FAILED = 128;
  private static final int DRIVER_MAY_SET = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;

  private final VirtioDevice device;
  private final QueueRegisters[] queues;

  private int status;
  private int deviceFeaturesSelect;
  private int driverFeaturesSelect;
  private long driverFeatures;

  /** The driver accepted a feature of which there is no word. */
  private boolean unknownFeatures;

  private int queueSelect;

  /** Connects a device to its registers and its doorbells. */
  public MmioTransport(VirtioDevice device) {
    this.device = device;
    queues = new QueueRegisters[device.queueCount()];
    for (int i = 0; i < queues.length; i++) {
      int queue = i;
      queues[i] = new QueueRegisters();
      device.resources().doorbell(QUEUE_NOTIFY, i, () -> device.notified(queue));
    }
  }

  /** What the driver has written about one queue. */
  private static final class QueueRegisters {
    boolean ready;
    int size;
    long descriptors;
    long available;
    long used;

    void reset() {
      ready = false;
      size = 0;
      descriptors = 0;
      available = 0;
      used = 0;
    }

    QueueLayout layout() {
      return new QueueLayout(size, descriptors, available, used);
    }
  }

  @Override
  public synchronized long read(long offset, int size) {
    if (offset >= CONFIG) {
      return device.readConfiguration(offset - CONFIG, size);
    }
    if (size != 4) {
      return 0;
    }
    return Integer.toUnsignedLong(readRegister((int) offset));
  }

  private int readRegister(int register) {
    return switch (register) {
      case MAGIC_VALUE -> MAGIC;
      case VERSION -> VIRTIO_MMIO_VERSION;
      case DEVICE_ID -> device.id();
      case VENDOR_ID -> VENDOR;
      case DEVICE_FEATURES -> word(device.features(), deviceFeaturesSelect);
      case QUEUE_SIZE_MAX -> queueExists() ? device.maximumQueueSize(queueSelect) : 0;
      case QUEUE_READY -> queueExists() && queues[queueSelect].ready ? 1 : 0;
      case INTERRUPT_STATUS -> device.interrupt().status();
      case STATUS -> status;
      case CONFIG_GENERATION -> device.configurationGeneration();
      // No shared memory region: both its length and its base are -1.
      default -> register >= SHM_LEN_LOW && register <= SHM_BASE_HIGH ? -1 : 0;
    };
  }

  private static int word(long features, int select) {
    return switch (select) {
      case 0 -> (int) features;
      case 1 -> (int) (features >>> 32);
      default -> 0;
    };
  }

  private boolean queueExists() {
    return queueSelect >= 0 && queueSelect < queues.length;
  }

  @Override
  public synchronized void write(long offset, int size, long value) {
    if (offset >= CONFIG) {
      if (!device.writeConfiguration(offset - CONFIG, size, value)) {
        device.ignored(Ignored.CONFIGURATION);
      }
    } else if (size != 4 || (offset & 3) != 0) {
      device.ignored(Ignored.REGISTER_WIDTH);
    } else {
      writeRegister((int) offset, (int) value);
    }
  }

  private void writeRegister(int register, int value) {
    switch (register) {
      case DEVICE_FEATURES_SEL -> deviceFeaturesSelect = value;
      case DRIVER_FEATURES -> acceptFeatures(value);
      case DRIVER_FEATURES_SEL -> driverFeaturesSelect = value;
      case QUEUE_SEL -> queueSelect = value;
      case QUEUE_SIZE,
          QUEUE_DESC_LOW,
          QUEUE_DESC_HIGH,
          QUEUE_DRIVER_LOW,
          QUEUE_DRIVER_HIGH,
          QUEUE_DEVICE_LOW,
          QUEUE_DEVICE_HIGH ->
          configure(register, value);
      case QUEUE_READY -> setReady(value);
      case QUEUE_NOTIFY -> ring(value);
      case INTERRUPT_ACK -> device.interrupt().acknowledge(value);
      case STATUS -> setStatus(value);
      case SHM_SEL -> {
        // Whatever is selected, there is no such region.
      }
      default -> device.ignored(Ignored.NO_REGISTER);
    }
  }

  private void ring(int queue) {
    if (queue < 0 || queue >= queues.length) {
      device.ignored(Ignored.NO_QUEUE);
    } else {
      device.processLater(queue);
    }
  }

  /** Replaces one half of a 64-bit register. */
  private static long half(long old, boolean high, int value) {
    return high
        ? (old & 0xffff_ffffL) | ((long) value << 32)
        : (old & ~0xffff_ffffL) | Integer.toUnsignedLong(value);
  }

  private void acceptFeatures(int value) {
    if ((status & FEATURES_OK) != 0) {
      device.ignored(Ignored.LATE_FEATURES);
    } else if (driverFeaturesSelect == 0 || driverFeaturesSelect == 1) {
      driverFeatures = half(driverFeatures, driverFeaturesSelect == 1, value);
    } else {
      unknownFeatures |= value != 0;
    }
  }

  /** Also of a queue that was taken away while the device is live; then it stays away. */
  private void configure(int register, int value) {
    if (!queueExists()) {
      device.ignored(Ignored.NO_QUEUE);
      return;
    }
    QueueRegisters queue = queues[queueSelect];
    if (queue.ready) {
      device.ignored(Ignored.READY_QUEUE);
      return;
    }
    switch (register) {
      case QUEUE_SIZE -> queue.size = value;
      case QUEUE_DESC_LOW, QUEUE_DESC_HIGH ->
          queue.descriptors = half(queue.descriptors, register == QUEUE_DESC_HIGH, value);
      case QUEUE_DRIVER_LOW, QUEUE_DRIVER_HIGH ->
          queue.available = half(queue.available, register == QUEUE_DRIVER_HIGH, value);
      default -> queue.used = half(queue.used, register == QUEUE_DEVICE_HIGH, value);
    }
  }

  private void setReady(int value) {
    if (!queueExists()) {
      device.ignored(Ignored.NO_QUEUE);
    } else if (value == 0) {
      queues[queueSelect].ready = false;
      device.stopQueue(queueSelect);
    } else if (value != 1) {
      device.ignored(Ignored.QUEUE_READY);
    } else if ((status & DRIVER_OK) != 0) {
      device.ignored(Ignored.LATE_QUEUE);
    } else {
      queues[queueSelect].ready = true;
    }
  }

  /** Bits are added only, also where a driver writes the new one alone, as some do. */
  private void setStatus(int value) {
    if (value == 0) {
      reset();
      return;
    }
    if ((value & ~(DRIVER_MAY_SET | DEVICE_NEEDS_RESET)) != 0
        || (status & DRIVER_MAY_SET & ~value) != 0) {
      device.ignored(Ignored.STATUS);
    }
    int added = value & DRIVER_MAY_SET & ~status;
    if ((added & FEATURES_OK) != 0 && !featuresAcceptable()) {
      // The driver finds the bit unset when it reads it again (section 3.1.1, step 6).
      added &= ~FEATURES_OK;
    }
    status |= added & ~DRIVER_OK;
    if ((added & DRIVER_OK) != 0) {
      start();
    }
  }

  private void start() {
    if ((status & FEATURES_OK) == 0) {
      // Without it nothing is settled that the device could begin with.
      device.ignored(Ignored.EARLY_DRIVER_OK);
      status |= DEVICE_NEEDS_RESET;
    }
    if ((status & DEVICE_NEEDS_RESET) == 0) {
      activate();
      status |= DRIVER_OK;
    }
  }

  private boolean featuresAcceptable() {
    return !unknownFeatures
        && (driverFeatures & ~device.features()) == 0
        && (driverFeatures & VirtioFeatures.VERSION_1) != 0;
  }

  private void activate() {
    @Nullable QueueLayout[] layouts = new QueueLayout[queues.length];
    for (int i = 0; i < queues.length; i++) {
      layouts[i] = queues[i].ready ? queues[i].layout() : null;
    }
    device.activate(layouts, driverFeatures);
    // The driver may have filled its queues before.
    for (int i = 0; i < queues.length; i++) {
      device.processLater(i);
    }
  }

  private void reset() {
    status = 0;
    deviceFeaturesSelect = 0;
    driverFeaturesSelect = 0;
    driverFeatures = 0;
    unknownFeatures = false;
    queueSelect = 0;
    for (QueueRegisters queue : queues) {
      queue.reset();
    }
    device.reset();
  }

  /** What the driver has made of the device. Consistent while no vCPU and no event loop runs. */
  public synchronized TransportState state() {
    List<TransportState.Registers> registers = new ArrayList<>();
    for (QueueRegisters queue : queues) {
      registers.add(new TransportState.Registers(queue.ready, queue.layout()));
    }
    return new TransportState(
        device.id(),
        status,
        deviceFeaturesSelect,
        driverFeaturesSelect,
        driverFeatures,
        unknownFeatures,
        queueSelect,
        device.interrupt().status(),
        registers,
        device.queueStates());
  }

  @Override
  public void pause() {
    device.pause();
  }

  @Override
  public void resume() {
    device.resume();
  }

  @Override
  public void addDiskUse(Map<String, DiskUse> disks) {
    device.addDiskUse(disks);
  }

  @Override
  public void addIgnored(Map<String, Long> counts) {
    device.addIgnored(counts);
  }

  /** Closes the device. */
  @Override
  public void close() {
    device.close();
  }
}
