// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.kvm.memory.GuestMemory;
import java.lang.invoke.VarHandle;

/**
 * A ring buffer of a channel, struct hv_ring_buffer: a page with its state, then pages with its
 * bytes. One side writes, the other reads. It is empty when both are at the same place, so it is
 * never quite full.
 */
final class Ring {
  static final int PAGE = 4096;

  private static final int WRITE_INDEX = 0;
  private static final int READ_INDEX = 4;
  private static final int INTERRUPT_MASK = 8;
  private static final int PENDING_SEND_SIZE = 12;

  private final GuestMemory memory;
  private final long[] pages;
  private final int size;

  /**
   * @param pages guest physical addresses
   */
  Ring(GuestMemory memory, long[] pages) {
    this.memory = memory;
    this.pages = pages;
    size = (pages.length - 1) * PAGE;
  }

  /** Between what is written and what tells of it, and between a store and a load after it. */
  static void fence() {
    VarHandle.fullFence();
  }

  private int get(int field) {
    return memory.getInt(pages[0] + field);
  }

  private void put(int field, int value) {
    memory.putInt(pages[0] + field, value);
  }

  int writeIndex() {
    return get(WRITE_INDEX);
  }

  int readIndex() {
    return get(READ_INDEX);
  }

  /** Whether the reader wants no interrupts just now. */
  boolean isMasked() {
    return get(INTERRUPT_MASK) != 0;
  }

  /** How much room the writer waits for; 0 when it does not. */
  int pendingSendSize() {
    return get(PENDING_SEND_SIZE);
  }

  void pendingSendSize(int bytes) {
    put(PENDING_SEND_SIZE, bytes);
  }

  void writeIndex(int index) {
    put(WRITE_INDEX, index);
  }

  void readIndex(int index) {
    put(READ_INDEX, index);
  }

  /** Bytes that can be read. */
  int readable() {
    return Math.floorMod(writeIndex() - readIndex(), size);
  }

  /** Bytes of room, of which one stays. */
  int writable() {
    return size - readable();
  }

  /** The place so many bytes behind another. */
  int after(int index, int bytes) {
    return (index + bytes) % size;
  }

  byte[] read(int index, int length) {
    byte[] bytes = new byte[length];
    for (int done = 0; done < length; ) {
      int at = after(index, done);
      int n = Math.min(length - done, PAGE - at % PAGE);
      memory.getBytes(pages[1 + at / PAGE] + at % PAGE, bytes, done, n);
      done += n;
    }
    return bytes;
  }

  void write(int index, byte[] bytes) {
    for (int done = 0; done < bytes.length; ) {
      int at = after(index, done);
      int n = Math.min(bytes.length - done, PAGE - at % PAGE);
      memory.putBytes(pages[1 + at / PAGE] + at % PAGE, bytes, done, n);
      done += n;
    }
  }
}
