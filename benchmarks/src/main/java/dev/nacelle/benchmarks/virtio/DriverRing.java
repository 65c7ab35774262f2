// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.virtio;

import dev.nacelle.kvm.device.virtio.QueueLayout;
import dev.nacelle.kvm.memory.GuestMemory;

/**
 * A driver's queue whose buffers are all alike, one descriptor each, and are offered again and
 * again in their order. Allocates nothing.
 */
final class DriverRing {
  private static final int WRITE = 2;

  private final GuestMemory memory;
  private final int size;
  private final long base;
  private final long available;
  private final long used;
  private final int bufferBytes;
  private final boolean writable;
  private int nextAvailable;
  private int nextUsed;

  /**
   * @param base where the queue and then its buffers are, page aligned
   */
  DriverRing(GuestMemory memory, int size, long base, int bufferBytes, boolean writable) {
    this.memory = memory;
    this.size = size;
    this.base = base;
    this.bufferBytes = bufferBytes;
    this.writable = writable;
    available = base + 16L * size;
    used = base + 0x2000;
    for (int i = 0; i < size; i++) {
      put(i, bufferBytes);
    }
  }

  private void put(int i, int length) {
    memory.putLong(base + 16L * i, buffer(i));
    memory.putInt(base + 16L * i + 8, length);
    memory.putInt(base + 16L * i + 12, writable ? WRITE : 0);
  }

  QueueLayout layout() {
    return new QueueLayout(size, base, available, used);
  }

  /** Where a buffer is. */
  long buffer(int i) {
    return base + 0x4000 + (long) i * bufferBytes;
  }

  /** Which buffer is offered next. */
  int next() {
    return nextAvailable % size;
  }

  /** Offers the next buffer. */
  void offer() {
    int i = next();
    memory.putShort(available + 4 + 2L * i, (short) i);
    nextAvailable++;
    memory.putShortRelease(available + 2, (short) nextAvailable);
  }

  /** Takes a buffer back; -1 when the device has returned none, else its number. */
  int take() {
    if (memory.getShortAcquire(used + 2) == (short) nextUsed) {
      return -1;
    }
    return memory.getInt(used + 4 + 8L * (nextUsed++ % size));
  }
}
