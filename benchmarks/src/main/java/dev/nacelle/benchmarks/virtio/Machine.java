// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.virtio;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.Timer;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import dev.nacelle.kvm.device.virtio.QueueLayout;
import dev.nacelle.kvm.device.virtio.VirtioDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A machine without one, for one device: what that wants done is done on the benchmark's thread,
 * and doorbells and interrupts, which are system calls in a machine, cost nothing.
 */
final class Machine implements DeviceResources, AutoCloseable {
  // Registers, virtio 1.2 section 4.2.2
  private static final int DRIVER_FEATURES = 0x20;
  private static final int DRIVER_FEATURES_SEL = 0x24;
  private static final int QUEUE_SEL = 0x30;
  private static final int QUEUE_SIZE = 0x38;
  private static final int QUEUE_READY = 0x44;
  private static final int STATUS = 0x70;
  private static final int QUEUE_DESC = 0x80;
  private static final int QUEUE_DRIVER = 0x90;
  private static final int QUEUE_DEVICE = 0xa0;

  private static final int MOST_QUEUES = 3;

  private final GuestMemory memory;
  private final @Nullable Runnable[] doorbells = new Runnable[MOST_QUEUES];
  private final List<Runnable> watchers = new ArrayList<>();
  private final ArrayDeque<Runnable> tasks = new ArrayDeque<>();

  /**
   * @param bytes of memory, a multiple of 4096
   */
  Machine(long bytes) {
    memory = GuestMemory.allocate(bytes);
  }

  /**
   * Starts the device as a driver does.
   *
   * @param features what it takes of the first 32 bits
   * @param queues all of the device's, in their order
   */
  void start(VirtioDevice device, int features, QueueLayout... queues) {
    MmioTransport transport = new MmioTransport(device);
    write(transport, STATUS, 1);
    write(transport, STATUS, 3);
    write(transport, DRIVER_FEATURES_SEL, 0);
    write(transport, DRIVER_FEATURES, features);
    write(transport, DRIVER_FEATURES_SEL, 1);
    write(transport, DRIVER_FEATURES, 1);
    write(transport, STATUS, 11);
    for (int i = 0; i < queues.length; i++) {
      write(transport, QUEUE_SEL, i);
      write(transport, QUEUE_SIZE, queues[i].size());
      write(transport, QUEUE_DESC, (int) queues[i].descriptors());
      write(transport, QUEUE_DRIVER, (int) queues[i].available());
      write(transport, QUEUE_DEVICE, (int) queues[i].used());
      write(transport, QUEUE_READY, 1);
    }
    write(transport, STATUS, 15);
    turn();
  }

  private static void write(MmioTransport transport, int register, int value) {
    transport.write(register, Integer.BYTES, Integer.toUnsignedLong(value));
  }

  /** Rings for a queue. */
  void ring(int queue) {
    Objects.requireNonNull(doorbells[queue]).run();
  }

  /** What the event loop does between two waits. */
  void turn() {
    for (int i = 0; i < watchers.size(); i++) {
      watchers.get(i).run();
    }
    for (Runnable task = tasks.poll(); task != null; task = tasks.poll()) {
      task.run();
    }
  }

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
    watchers.add(handler);
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

  /** Once the device is closed. */
  @Override
  public void close() {
    memory.close();
  }
}
