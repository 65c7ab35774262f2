// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import dev.nacelle.DiskUse;
import java.util.Map;

/** A memory-mapped device with a life of its own: connections, files. */
public interface AttachedDevice extends MmioDevice, AutoCloseable {
  /**
   * The machine is about to stand still: what is under way with guest memory comes to its end, and
   * nothing touches it until {@link #resume}, whoever calls. On the device's event loop, while no
   * vCPU runs; nothing else is called there until then. An exception ends the machine.
   */
  default void pause() {}

  /** It goes on, and looks at what has waited. On any thread, before the event loop goes on. */
  default void resume() {}

  /**
   * The guest has ended: resets what depends on it and releases what the device holds. Called once,
   * on the device's event loop, which is its own where its work waits ({@code
   * DeviceFactory.waits}), after the last vCPU has left the guest. Guest memory is there until it
   * returns, however long that takes: the machine's end does not wait for a device with an event
   * loop of its own, and who closes the machine waits for a limited time. Any other device must not
   * block. Doorbells and tasks that come later find a closed device.
   */
  @Override
  void close();

  /**
   * Adds what its driver did against the rules that was ignored: how often, by the device's name
   * and the rule. From any thread.
   */
  default void addIgnored(Map<String, Long> counts) {}

  /** Adds what was read and written, where it is a disk, by its serial number. From any thread. */
  default void addDiskUse(Map<String, DiskUse> disks) {}
}
