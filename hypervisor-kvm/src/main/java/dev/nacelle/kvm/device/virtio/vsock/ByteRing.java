// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import dev.nacelle.kvm.device.virtio.DescriptorChain;
import java.nio.ByteBuffer;

/**
 * A queue of bytes that grows by doubling as it is filled, from nothing. Its user bounds it. Not
 * safe for use from several threads.
 */
final class ByteRing {
  private static final byte[] EMPTY = {};
  private static final int SMALLEST = 4096;

  /** Its length is 0 or a power of two. */
  private byte[] bytes = EMPTY;

  private int head;
  private int size;

  int size() {
    return size;
  }

  boolean isEmpty() {
    return size == 0;
  }

  /** Appends readable bytes of a chain. */
  void append(DescriptorChain source, long offset, int length) {
    reserve(length);
    int tail = (head + size) & (bytes.length - 1);
    int first = Math.min(length, bytes.length - tail);
    source.read(offset, bytes, tail, first);
    source.read(offset + first, bytes, 0, length - first);
    size += length;
  }

  /** Appends from a buffer's position, which advances. */
  void append(ByteBuffer source, int length) {
    reserve(length);
    int tail = (head + size) & (bytes.length - 1);
    int first = Math.min(length, bytes.length - tail);
    source.get(bytes, tail, first);
    source.get(bytes, 0, length - first);
    size += length;
  }

  /** Moves bytes to the writable part of a chain. */
  void take(DescriptorChain destination, long offset, int length) {
    int first = Math.min(length, bytes.length - head);
    destination.write(offset, bytes, head, first);
    destination.write(offset + first, bytes, 0, length - first);
    skip(length);
  }

  /** Moves as many bytes as there are and fit. */
  int take(ByteBuffer destination) {
    int length = Math.min(size, destination.remaining());
    int first = Math.min(length, bytes.length - head);
    destination.put(bytes, head, first);
    destination.put(bytes, 0, length - first);
    skip(length);
    return length;
  }

  private void skip(int length) {
    size -= length;
    // Starting over keeps short exchanges in the same few cache lines.
    head = size == 0 ? 0 : (head + length) & (bytes.length - 1);
  }

  /** Forgets the content and gives the memory back. */
  void release() {
    bytes = EMPTY;
    head = 0;
    size = 0;
  }

  private void reserve(int more) {
    int needed = Math.addExact(size, more);
    if (needed <= bytes.length) {
      return;
    }
    int capacity = Math.max(SMALLEST, Integer.highestOneBit(needed - 1) << 1);
    byte[] larger = new byte[capacity];
    int first = Math.min(size, bytes.length - head);
    System.arraycopy(bytes, head, larger, 0, first);
    System.arraycopy(bytes, 0, larger, first, size - first);
    bytes = larger;
    head = 0;
  }
}
