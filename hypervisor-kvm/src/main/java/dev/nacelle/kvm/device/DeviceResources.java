// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;

/**
 * What a memory-mapped device gets from its virtual machine at construction.
 *
 * <p>At the end of the machine its vCPUs have left the guest before devices are closed, and devices
 * are closed before the memory. So a device touches guest memory on a vCPU's thread, or on an event
 * loop or a user's thread under a lock that its close takes too, after which it no longer does.
 */
public interface DeviceResources {
  /** The guest's memory. */
  GuestMemory memory();

  /** The device's interrupt. */
  InterruptLine interrupt();

  /**
   * Has the guest's 4-byte writes of one value to one register handled on the event loop, without
   * stopping the vCPU that writes (KVM_IOEVENTFD with KVM_IOEVENTFD_FLAG_DATAMATCH); {@link
   * MmioDevice#write} does not see them. For QueueNotify (virtio 1.2 section 4.2.2) and a queue's
   * index. Writes that come faster than the handler may be one call. Call while the device is
   * constructed.
   *
   * @param offset of the register, from the start of the device's range
   * @param value what must be written
   * @param onWrite called on the event loop
   */
  void doorbell(long offset, int value, Runnable onWrite);

  /**
   * Has a handler called on the event loop after each signal of a source of the device's own, until
   * the device closes that. Call while the device is constructed.
   */
  void watch(Pollable source, Runnable handler);

  /**
   * Runs a task on the virtual machine's event loop, one after the other; from any thread, without
   * allocation once warm.
   *
   * @return false when the loop has ended and the task will not run
   */
  boolean execute(Runnable task);

  /** The time that timers go by, in nanoseconds from some moment on, as {@link System#nanoTime}. */
  long nanoTime();

  /**
   * A timer, not yet set. Call while the device is constructed.
   *
   * @param onTime called on the event loop
   */
  Timer timer(Runnable onTime);
}
