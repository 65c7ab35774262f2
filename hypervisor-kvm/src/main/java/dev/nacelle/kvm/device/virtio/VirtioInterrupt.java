// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.InterruptLine;

/**
 * InterruptStatus and InterruptACK (virtio 1.2 section 4.2.2) in front of an edge-triggered line.
 *
 * <p>An edge is raised for every event, also while the status bit is still set: a driver that
 * acknowledges after it looked at the rings, as the specification lets it, would otherwise never
 * hear of what happened in between. Safe from any thread.
 */
final class VirtioInterrupt {
  // Bits of InterruptStatus
  private static final int USED_BUFFER = 1;
  private static final int CONFIGURATION = 2;

  private final InterruptLine line;
  private volatile boolean used;
  private volatile boolean changed;

  VirtioInterrupt(InterruptLine line) {
    this.line = line;
  }

  void usedBuffer() {
    used = true;
    line.raise();
  }

  void configurationChanged() {
    changed = true;
    line.raise();
  }

  int status() {
    return (used ? USED_BUFFER : 0) | (changed ? CONFIGURATION : 0);
  }

  void acknowledge(int bits) {
    if ((bits & USED_BUFFER) != 0) {
      used = false;
    }
    if ((bits & CONFIGURATION) != 0) {
      changed = false;
    }
  }

  void reset() {
    used = false;
    changed = false;
  }
}
