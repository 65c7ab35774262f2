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
  /** Bit 0 of InterruptStatus. The other is of changes of configuration, which no device has. */
  private static final int USED_BUFFER = 1;

  private final InterruptLine line;
  private volatile int status;

  VirtioInterrupt(InterruptLine line) {
    this.line = line;
  }

  void usedBuffer() {
    status = USED_BUFFER;
    line.raise();
  }

  int status() {
    return status;
  }

  void acknowledge(int bits) {
    if ((bits & USED_BUFFER) != 0) {
      status = 0;
    }
  }

  void reset() {
    status = 0;
  }
}
