// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import java.util.Map;

/** A memory-mapped device with a life of its own: connections, files. */
public interface AttachedDevice extends MmioDevice, AutoCloseable {
  /**
   * The guest has ended: resets what depends on it and releases what the device holds. Called once:
   * on the machine's event loop, after the last vCPU has left the guest, or after that loop's end
   * where the machine could not be built. Guest memory is still there. An event loop of the
   * device's own may be at work; doorbells and tasks that come later find a closed device.
   */
  @Override
  void close();

  /**
   * Adds what its driver did against the rules that was ignored: how often, by the device's name
   * and the rule. From any thread.
   */
  default void addIgnored(Map<String, Long> counts) {}
}
