// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

/** One edge-triggered interrupt line of the guest. */
@FunctionalInterface
public interface InterruptLine {
  /**
   * Raises an edge. Safe from any thread; costs one system call (irqfd), so a device raises only
   * when the driver wants to know. After the end of the virtual machine it does nothing.
   */
  void raise();
}
