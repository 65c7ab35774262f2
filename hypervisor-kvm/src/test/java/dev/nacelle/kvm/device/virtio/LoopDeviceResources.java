// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.EventLoop;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.LoopResources;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.EventFd;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;

/**
 * A machine for one device without KVM, whose event loop is a real one: driver and device run at
 * the same time.
 */
public final class LoopDeviceResources extends LoopResources implements AutoCloseable {
  private final List<Throwable> failures;
  private final Map<Integer, EventFd> doorbells = new ConcurrentHashMap<>();
  private final Semaphore interrupts = new Semaphore(0);

  /**
   * @param memorySize in bytes, a multiple of 4096
   */
  public LoopDeviceResources(long memorySize) {
    this(GuestMemory.allocate(memorySize), new CopyOnWriteArrayList<>());
  }

  private LoopDeviceResources(GuestMemory memory, List<Throwable> failures) {
    super(memory, new EventLoop("device-under-test", failures::add));
    this.failures = failures;
  }

  @Override
  public InterruptLine interrupt() {
    return interrupts::release;
  }

  @Override
  public void doorbell(long offset, int value, Runnable onWrite) {
    EventFd doorbell = new EventFd();
    doorbells.put(value, doorbell);
    loop.register(doorbell, onWrite);
  }

  /** Rings for a queue. */
  public void ring(int queue) {
    Objects.requireNonNull(doorbells.get(queue)).signal();
  }

  /** Waits until there was an interrupt, and forgets all that there were. */
  public void awaitInterrupt() throws InterruptedException {
    interrupts.acquire();
    interrupts.drainPermits();
  }

  /** Wakes a driver that waits for an interrupt, as one of another device would. */
  public void interruptSpuriously() {
    interrupts.release();
  }

  /** What handlers and tasks have thrown. */
  public List<Throwable> failures() {
    return failures;
  }

  /** Ends the event loop, as its machine does before it closes the device. */
  public void closeLoop() {
    loop.close();
  }

  /** Once the device is closed. */
  @Override
  public void close() {
    loop.close();
    doorbells.values().forEach(EventFd::close);
    memory().close();
  }
}
