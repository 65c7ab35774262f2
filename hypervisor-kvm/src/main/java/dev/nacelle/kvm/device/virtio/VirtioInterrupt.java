// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.InterruptLine;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * InterruptStatus and InterruptACK (virtio 1.2 section 4.2.2) in front of an edge-triggered line.
 *
 * <p>An edge is raised for every event, also while the status bit is still set: a driver that
 * acknowledges after it looked at the rings, as the specification lets it, would otherwise never
 * hear of what happened in between. Safe from any thread.
 */
final class VirtioInterrupt {
  /** Bit 0 of InterruptStatus. */
  private static final int USED_BUFFER = 1;

  private final InterruptLine line;
  private final AtomicInteger status = new AtomicInteger();

  VirtioInterrupt(InterruptLine line) {
    this.line = line;
  }

  void usedBuffer() {
    status.getAndUpdate(bits -> bits | USED_BUFFER);
    line.raise();
  }

  int status() {
    return status.get();
  }

  void acknowledge(int bits) {
    status.getAndUpdate(old -> old & ~bits);
  }

  void reset() {
    status.set(0);
  }
}
