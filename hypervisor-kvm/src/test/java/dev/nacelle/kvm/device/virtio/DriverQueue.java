// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.memory.GuestMemory;
import java.lang.invoke.VarHandle;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The driver's side of a split virtqueue (virtio 1.2 section 2.7), with the means to break it. */
public final class DriverQueue {
  public static final int NEXT = 1;
  public static final int WRITE = 2;
  public static final int INDIRECT = 4;

  /**
   * A piece of a buffer.
   *
   * @param writable by the device
   */
  public record Segment(long address, int length, boolean writable) {}

  /**
   * A buffer that came back.
   *
   * @param head what {@link #offer} returned
   * @param written as the device says
   */
  public record Used(int head, int written) {}

  private final DriverFixture driver;
  private final int index;
  private final int size;
  private final long descriptors;
  private final long available;
  private final long used;
  private final ArrayDeque<Integer> free = new ArrayDeque<>();
  private final Map<Integer, List<Integer>> chains = new HashMap<>();
  private int nextAvailable;
  private int lastRung;
  private int nextUsed;

  DriverQueue(
      DriverFixture driver, int index, int size, long descriptors, long available, long used) {
    this.driver = driver;
    this.index = index;
    this.size = size;
    this.descriptors = descriptors;
    this.available = available;
    this.used = used;
    for (int i = 0; i < size; i++) {
      free.add(i);
    }
  }

  public long descriptors() {
    return descriptors;
  }

  public long available() {
    return available;
  }

  public long used() {
    return used;
  }

  public int size() {
    return size;
  }

  /** How many descriptors are free. */
  public int freeDescriptors() {
    return free.size();
  }

  /** A device-readable segment with content. */
  public Segment readable(byte... content) {
    return new Segment(driver.allocate(content), content.length, false);
  }

  /** A device-writable segment. */
  public Segment writable(int length) {
    return new Segment(driver.allocate(length, 1), length, true);
  }

  /** Makes a buffer available, without ringing; returns the head of its chain. */
  public int offer(Segment... segments) {
    List<Integer> chain = new ArrayList<>();
    for (int i = 0; i < segments.length; i++) {
      chain.add(free.remove());
    }
    for (int i = 0; i < segments.length; i++) {
      boolean last = i == segments.length - 1;
      int flags = (last ? 0 : NEXT) | (segments[i].writable() ? WRITE : 0);
      putDescriptor(
          chain.get(i),
          segments[i].address(),
          segments[i].length(),
          flags,
          last ? 0 : chain.get(i + 1));
    }
    chains.put(chain.get(0), chain);
    publish(chain.get(0));
    return chain.get(0);
  }

  /** Like {@link #offer}, with a single descriptor that refers to a table. */
  public int offerIndirect(Segment... segments) {
    long table = driver.allocate(16L * segments.length, 16);
    for (int i = 0; i < segments.length; i++) {
      boolean last = i == segments.length - 1;
      int flags = (last ? 0 : NEXT) | (segments[i].writable() ? WRITE : 0);
      putDescriptorAt(
          table + 16L * i, segments[i].address(), segments[i].length(), flags, last ? 0 : i + 1);
    }
    int head = free.remove();
    putDescriptor(head, table, 16 * segments.length, INDIRECT, 0);
    chains.put(head, List.of(head));
    publish(head);
    return head;
  }

  /** Writes a descriptor of the queue. */
  public void putDescriptor(int descriptor, long address, int length, int flags, int next) {
    putDescriptorAt(descriptors + 16L * descriptor, address, length, flags, next);
  }

  /** Writes a descriptor anywhere. */
  public void putDescriptorAt(long at, long address, int length, int flags, int next) {
    GuestMemory memory = driver.memory();
    memory.putLong(at, address);
    memory.putInt(at + 8, length);
    memory.putShort(at + 12, (short) flags);
    memory.putShort(at + 14, (short) next);
  }

  /** Puts a head into the available ring and moves the index. */
  public void publish(int head) {
    driver.memory().putShort(available + 4 + 2L * (nextAvailable % size), (short) head);
    nextAvailable = (nextAvailable + 1) & 0xffff;
    publishIndex(nextAvailable);
  }

  /** Writes any available index. */
  public void publishIndex(int value) {
    driver.memory().putShortRelease(available + 2, (short) value);
  }

  /** Whether the device wants to know of what was made available since the last ring. */
  public boolean mustRing() {
    GuestMemory memory = driver.memory();
    // The available index must be seen before the device's wish is read (section 2.7.13.4.1).
    VarHandle.fullFence();
    int old = lastRung;
    if (old == nextAvailable) {
      return false;
    }
    if (driver.negotiated(DriverFixture.EVENT_IDX)) {
      int event = Short.toUnsignedInt(memory.getShort(used + 4 + 8L * size));
      return ((nextAvailable - event - 1) & 0xffff) < ((nextAvailable - old) & 0xffff);
    }
    return (memory.getShort(used) & 1) == 0;
  }

  /** Rings, but only if the device wants that; returns whether it did. */
  public boolean kick() {
    boolean must = mustRing();
    rung();
    if (must) {
      driver.ring(index);
    }
    return must;
  }

  /** Remembers that the device was told of everything so far, or did not want to be. */
  public void rung() {
    lastRung = nextAvailable;
  }

  /** How many buffers have come back that {@link #take} has not taken. */
  public int untaken() {
    return (driver.memory().getShortAcquire(used + 2) - nextUsed) & 0xffff;
  }

  /** Takes the next buffer that the device returned. */
  public Optional<Used> take() {
    GuestMemory memory = driver.memory();
    int usedIndex = Short.toUnsignedInt(memory.getShortAcquire(used + 2));
    if (usedIndex == nextUsed) {
      return Optional.empty();
    }
    long element = used + 4 + 8L * (nextUsed % size);
    nextUsed = (nextUsed + 1) & 0xffff;
    Used taken = new Used(memory.getInt(element), memory.getInt(element + 4));
    List<Integer> chain = chains.remove(taken.head());
    if (chain == null) {
      throw new IllegalStateException("the device returned " + taken + ", which it did not have");
    }
    free.addAll(chain);
    return Optional.of(taken);
  }

  /** Asks for an interrupt when the next buffer comes back (EVENT_IDX). */
  public void requestInterrupt() {
    driver.memory().putShort(available + 4 + 2L * size, (short) nextUsed);
    // The wish must be seen before the used index is read again (section 2.7.14).
    VarHandle.fullFence();
  }

  /** Asks for no interrupts (EVENT_IDX): until so many more than ever can be outstanding. */
  public void suppressInterrupt() {
    driver.memory().putShort(available + 4 + 2L * size, (short) (nextUsed - 1));
  }
}
