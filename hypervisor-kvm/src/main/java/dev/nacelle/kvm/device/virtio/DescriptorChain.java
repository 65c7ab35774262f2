// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.memory.GuestMemory;
import java.nio.ByteBuffer;
import java.util.Objects;

/**
 * One buffer that the driver made available: device-readable segments, then device-writable ones
 * (virtio 1.2 section 2.7.4). Filled by {@link VirtQueue#pop} with copies of the descriptors, each
 * read once and checked, so that nothing the guest does to the table later can matter; reused for
 * every buffer. The bytes that the segments point to stay the guest's: read them once, then check
 * the copy.
 *
 * <p>The readable and the writable bytes are each one sequence here, whatever the driver's framing
 * (section 2.7.4.1: the device must not make assumptions about it). Not safe for use from several
 * threads.
 */
public final class DescriptorChain {
  private final GuestMemory memory;
  private final long[] addresses;
  private final int[] lengths;
  private int head;
  private int segments;
  private int readableSegments;
  private long readableBytes;
  private long writableBytes;

  /**
   * @param maximumSegments the largest queue size that this is used with
   */
  public DescriptorChain(GuestMemory memory, int maximumSegments) {
    this.memory = memory;
    addresses = new long[maximumSegments];
    lengths = new int[maximumSegments];
  }

  void begin(int head) {
    this.head = head;
    segments = 0;
    readableSegments = 0;
    readableBytes = 0;
    writableBytes = 0;
  }

  /** The queue has checked the range, the length and the order. */
  void add(long address, int length, boolean writable) {
    addresses[segments] = address;
    lengths[segments] = length;
    segments++;
    if (writable) {
      writableBytes += length;
    } else {
      readableSegments++;
      readableBytes += length;
    }
  }

  /** The descriptor that it starts with, which the driver knows the buffer by. */
  public int head() {
    return head;
  }

  /** How many bytes the driver wrote for the device. */
  public long readableBytes() {
    return readableBytes;
  }

  /** How many bytes the device may write. */
  public long writableBytes() {
    return writableBytes;
  }

  /** How many segments are device-readable; the writable ones follow. */
  public int readableSegments() {
    return readableSegments;
  }

  /** How many segments there are, readable and writable. */
  public int segments() {
    return segments;
  }

  /** The guest physical address of a segment; all {@link #length} bytes from there are RAM. */
  public long address(int segment) {
    return addresses[Objects.checkIndex(segment, segments)];
  }

  /** The length of a segment in bytes, positive. */
  public int length(int segment) {
    return lengths[Objects.checkIndex(segment, segments)];
  }

  /**
   * Copies from the readable bytes.
   *
   * @param offset in the readable bytes
   * @throws IndexOutOfBoundsException when they end before that
   */
  public void read(long offset, byte[] destination, int start, int length) {
    Objects.checkFromIndexSize(offset, length, readableBytes);
    Objects.checkFromIndexSize(start, length, destination.length);
    int segment = 0;
    for (int done = 0; done < length; segment++) {
      if (offset >= lengths[segment]) {
        offset -= lengths[segment];
        continue;
      }
      int n = (int) Math.min(length - done, lengths[segment] - offset);
      memory.getBytes(addresses[segment] + offset, destination, start + done, n);
      done += n;
      offset = 0;
    }
  }

  /**
   * Copies to the writable bytes, without a buffer around the source: this is done for each
   * request.
   *
   * @param offset in the writable bytes
   * @throws IndexOutOfBoundsException when they end before that
   */
  public void write(long offset, byte[] source, int start, int length) {
    Objects.checkFromIndexSize(offset, length, writableBytes);
    Objects.checkFromIndexSize(start, length, source.length);
    int segment = readableSegments;
    for (int done = 0; done < length; segment++) {
      if (offset >= lengths[segment]) {
        offset -= lengths[segment];
        continue;
      }
      int n = (int) Math.min(length - done, lengths[segment] - offset);
      memory.putBytes(addresses[segment] + offset, source, start + done, n);
      done += n;
      offset = 0;
    }
  }

  /**
   * Copies from a buffer's position, which advances, to the writable bytes.
   *
   * @param offset in the writable bytes
   * @throws IndexOutOfBoundsException when they end before that
   * @throws java.nio.BufferUnderflowException when the buffer does; some bytes may have been copied
   */
  public void write(long offset, ByteBuffer source, int length) {
    Objects.checkFromIndexSize(offset, length, writableBytes);
    int segment = readableSegments;
    for (int done = 0; done < length; segment++) {
      if (offset >= lengths[segment]) {
        offset -= lengths[segment];
        continue;
      }
      int n = (int) Math.min(length - done, lengths[segment] - offset);
      memory.putBytes(addresses[segment] + offset, source, n);
      done += n;
      offset = 0;
    }
  }
}
