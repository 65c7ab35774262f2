// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.kvm.device.virtio.DescriptorChain;
import java.nio.ByteBuffer;

/**
 * What the guest has sent on one connection and the user has not read, and what the guest has been
 * told of the room for more (virtio 1.2 section 5.10.6.3). Counters are free-running 32-bit
 * numbers.
 */
final class ReceiveWindow {
  /** What a new connection has room for, in bytes. */
  static final int INITIAL_BYTES = 16 * 1024;

  /** What the largest has room for, in bytes; what Linux' own default is. */
  static final int MAXIMUM_BYTES = 256 * 1024;

  private final ByteRing ring = new ByteRing();
  private int capacity = INITIAL_BYTES;
  private int receivedCount;
  private int readCount;

  /** What the guest was last told of capacity and readCount: its credit follows from these. */
  private int toldCapacity;

  private int toldReadCount;

  /** How many bytes the guest may send. */
  int credit() {
    return toldCapacity - (receivedCount - toldReadCount);
  }

  /** Tells the guest. */
  void tell(VsockHeader header) {
    toldCapacity = capacity;
    toldReadCount = readCount;
    header.bufferSize = toldCapacity;
    header.forwarded = toldReadCount;
  }

  /**
   * Whether the guest should be told of new room: when half has become free since it was. Each
   * update costs about as much as a packet of data, and half is room for two more of those.
   */
  boolean isUpdateDue() {
    return readCount - toldReadCount >= capacity / 2;
  }

  /** Whether more room would help: the user has read all there was. */
  boolean wouldGrow() {
    return ring.isEmpty() && capacity < MAXIMUM_BYTES;
  }

  /** In bytes. */
  int capacity() {
    return capacity;
  }

  /** Doubles the capacity. */
  void grow() {
    capacity *= 2;
  }

  /** By how many bytes it has grown. */
  int grownBytes() {
    return capacity - INITIAL_BYTES;
  }

  boolean isEmpty() {
    return ring.isEmpty();
  }

  /** Takes data from a packet; no more than {@link #credit}. */
  void append(DescriptorChain packet, int offset, int length) {
    ring.append(packet, offset, length);
    receivedCount += length;
  }

  /** Moves what there is to the user's buffer; returns how many bytes. */
  int take(ByteBuffer destination) {
    int n = ring.take(destination);
    readCount += n;
    return n;
  }

  /** Forgets what was not read. */
  void release() {
    ring.release();
  }
}
