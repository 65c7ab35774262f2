// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.memory.GuestMemory;
import java.lang.invoke.VarHandle;

/**
 * The device's side of a split virtqueue (virtio 1.2 section 2.7).
 *
 * <p>Size and addresses are final: they were checked when the driver activated the device, and what
 * the driver writes to its registers later cannot reach them. What it writes to the rings and the
 * descriptors is checked at every use; a rule broken is a {@link GuestFault} that names the device,
 * the queue and the descriptor. Nothing here allocates except a fault.
 *
 * <p>The guest's vCPUs work on the same memory at the same time. The order of accesses is:
 *
 * <ul>
 *   <li>{@code avail.idx} is loaded with acquire, before the ring entries and descriptors that it
 *       publishes; it pairs with the driver's barrier before its store (section 2.7.13.3.1).
 *   <li>{@code used.idx} is stored with release, after the used element and after every byte that
 *       the device wrote to the buffer (section 2.7.8.2).
 *   <li>A store of {@code used.idx} followed by a load of {@code used_event} or {@code
 *       avail.flags}, and a store of {@code avail_event} or {@code used.flags} followed by a load
 *       of {@code avail.idx}, need a full fence between them: release and acquire alone let a
 *       processor take the load first, and then each side could miss the other's last word and
 *       sleep forever (sections 2.7.7 and 2.7.10).
 * </ul>
 *
 * <p>Not safe for use from several threads, except for {@link #stop}; its device locks.
 */
public final class VirtQueue {
  /** The largest queue size there is (virtio 1.2 section 2.7). */
  public static final int MAXIMUM_SIZE = 32768;

  // struct virtq_desc, virtio 1.2 section 2.7.5
  private static final int DESCRIPTOR_BYTES = 16;
  private static final int DESC_F_NEXT = 1;
  private static final int DESC_F_WRITE = 2;
  private static final int DESC_F_INDIRECT = 4;

  // struct virtq_avail, section 2.7.6: flags, idx, ring, used_event
  private static final int AVAIL_F_NO_INTERRUPT = 1;
  private static final int AVAIL_INDEX = 2;
  private static final int AVAIL_RING = 4;

  // struct virtq_used, section 2.7.8: flags, idx, ring of (id, len), avail_event
  private static final short USED_F_NO_NOTIFY = 1;
  private static final int USED_INDEX = 2;
  private static final int USED_RING = 4;
  private static final int USED_ELEMENT_BYTES = 8;

  private final GuestMemory memory;
  private final String name;
  private final int size;
  private final int mask;
  private final long descriptors;
  private final long available;
  private final long used;
  private final boolean eventIndex;
  private final boolean indirect;

  private volatile boolean stopped;

  /** Free-running, as in the rings: 16 bits. */
  private int nextAvailable;

  private int nextUsed;

  /** {@link #nextUsed} when the driver was last asked whether it wants an interrupt. */
  private int signalledUsed;

  /**
   * Checks what the driver configured.
   *
   * @param name for messages: the device's and the queue's
   * @param layout size and addresses as the driver wrote them
   * @param features the negotiated ones
   * @throws GuestFault when the size is no power of two or too large, or a part of the queue is
   *     misaligned or not in RAM
   */
  public VirtQueue(GuestMemory memory, String name, QueueLayout layout, long features) {
    this.memory = memory;
    this.name = name;
    size = layout.size();
    mask = size - 1;
    descriptors = layout.descriptors();
    available = layout.available();
    used = layout.used();
    eventIndex = (features & VirtioFeatures.EVENT_IDX) != 0;
    indirect = (features & VirtioFeatures.INDIRECT_DESC) != 0;
    if (size <= 0 || size > MAXIMUM_SIZE || Integer.bitCount(size) != 1) {
      throw fault("size " + Integer.toUnsignedString(size) + " is not a power of two up to 32768");
    }
    // Alignment and size of each part: the table of section 2.7.
    checkPart("descriptor table", descriptors, DESCRIPTOR_BYTES, (long) DESCRIPTOR_BYTES * size);
    checkPart("available ring", available, 2, 6 + 2L * size);
    checkPart("used ring", used, 4, 6 + (long) USED_ELEMENT_BYTES * size);
  }

  private void checkPart(String part, long address, int alignment, long length) {
    if ((address & (alignment - 1)) != 0) {
      throw fault(part + " at 0x" + Long.toHexString(address) + " is not aligned to " + alignment);
    }
    if (!memory.contains(address, length)) {
      throw fault(part + " at 0x" + Long.toHexString(address) + " is not in RAM");
    }
  }

  /** The number of descriptors. */
  public int size() {
    return size;
  }

  /**
   * Has no more buffers from now on: whoever works on them comes to an end soon, without knowing
   * that somebody waits for that. From any thread.
   */
  void stop() {
    stopped = true;
  }

  /** Whether {@link #stop} was called; what takes long looks now and then. */
  public boolean isStopped() {
    return stopped;
  }

  /**
   * How many buffers wait to be taken.
   *
   * @throws GuestFault when the driver claims more buffers than the queue can hold
   */
  public int waiting() {
    int index = Short.toUnsignedInt(memory.getShortAcquire(available + AVAIL_INDEX));
    int waiting = (index - nextAvailable) & 0xffff;
    int taken = (nextAvailable - nextUsed) & 0xffff;
    if (waiting > size - taken) {
      throw fault(
          "available index "
              + index
              + " is "
              + waiting
              + " ahead of "
              + nextAvailable
              + " in a queue of "
              + size
              + " with "
              + taken
              + " buffers in use");
    }
    return waiting;
  }

  /**
   * Takes the next buffer.
   *
   * @return false when there is none, or the queue is stopped; the chain is then undefined
   * @throws GuestFault when the driver broke a rule
   */
  public boolean pop(DescriptorChain chain) {
    if (stopped || waiting() == 0) {
      return false;
    }
    long entry = available + AVAIL_RING + 2L * (nextAvailable & mask);
    int head = Short.toUnsignedInt(memory.getShort(entry));
    if (head >= size) {
      throw fault("available ring names descriptor " + head + " of " + size);
    }
    nextAvailable = (nextAvailable + 1) & 0xffff;
    collect(head, chain);
    return true;
  }

  /** Leaves the buffer that was popped last where it was: the next pop finds it again. */
  public void putBack() {
    nextAvailable = (nextAvailable - 1) & 0xffff;
  }

  /** Follows a chain. Every descriptor is read once, in two loads that do not overlap. */
  private void collect(int head, DescriptorChain chain) {
    chain.begin(head);
    long table = descriptors;
    int tableSize = size;
    boolean inIndirect = false;
    long total = 0;
    int index = head;
    int seen = 0;
    while (true) {
      if (seen++ == size) {
        // Also what a loop looks like.
        throw fault(head, index, "the chain is longer than the queue, " + size);
      }
      long at = table + (long) DESCRIPTOR_BYTES * index;
      long address = memory.getLong(at);
      long rest = memory.getLong(at + 8);
      long length = rest & 0xffff_ffffL;
      int flags = (int) (rest >>> 32) & 0xffff;
      int next = (int) (rest >>> 48);

      if ((flags & DESC_F_INDIRECT) != 0) {
        checkIndirect(head, index, flags, address, length, inIndirect);
        inIndirect = true;
        table = address;
        tableSize = (int) (length / DESCRIPTOR_BYTES);
        index = 0;
        // The descriptor that refers to the table is not part of the buffer.
        seen--;
        continue;
      }

      boolean writable = (flags & DESC_F_WRITE) != 0;
      total += length;
      // Section 2.7.5 forbids no empty descriptor: it adds nothing, wherever it points.
      if (length > 0 && !memory.contains(address, length)) {
        throw fault(
            head, index, length + " bytes at 0x" + Long.toHexString(address) + " are not all RAM");
      }
      if (total > Integer.MAX_VALUE) {
        // Half of what section 2.7.5.2 allows, so that a length is a positive int everywhere.
        throw fault(head, index, "the buffer is longer than 2 GiB");
      }
      if (length > 0 && !writable && chain.writableBytes() > 0) {
        throw fault(head, index, "device-readable after device-writable");
      }
      if (length > 0) {
        chain.add(address, (int) length, writable);
      }

      if ((flags & DESC_F_NEXT) == 0) {
        return;
      }
      if (next >= tableSize) {
        throw fault(head, index, "next is " + next + " of " + tableSize);
      }
      index = next;
    }
  }

  /** Virtio 1.2 section 2.7.5.3. */
  private void checkIndirect(
      int head, int index, int flags, long address, long length, boolean inIndirect) {
    if (!indirect) {
      throw fault(head, index, "indirect, which was not negotiated");
    }
    if (inIndirect) {
      throw fault(head, index, "indirect in an indirect table");
    }
    if ((flags & DESC_F_NEXT) != 0) {
      throw fault(head, index, "both indirect and with a next");
    }
    if (length == 0 || length % DESCRIPTOR_BYTES != 0) {
      throw fault(head, index, "an indirect table of " + length + " bytes");
    }
    if (!memory.contains(address, length)) {
      throw fault(
          head, index, "the indirect table at 0x" + Long.toHexString(address) + " is not in RAM");
    }
  }

  /**
   * Returns a buffer to the driver.
   *
   * @param written how many bytes were written from the start of its writable part; 0 where that is
   *     not certain
   */
  public void push(DescriptorChain chain, int written) {
    push(chain.head(), written);
  }

  /**
   * Likewise, of a device that keeps no more of a buffer than its head.
   *
   * @param head of a chain that was taken and not returned yet
   */
  public void push(int head, int written) {
    long element = used + USED_RING + (long) USED_ELEMENT_BYTES * (nextUsed & mask);
    memory.putInt(element, head);
    memory.putInt(element + 4, written);
    nextUsed = (nextUsed + 1) & 0xffff;
    memory.putShortRelease(used + USED_INDEX, (short) nextUsed);
  }

  /**
   * Whether the driver wants an interrupt for what was returned since the last call (section
   * 2.7.7).
   */
  public boolean interruptNeeded() {
    int old = signalledUsed;
    if (old == nextUsed) {
      return false;
    }
    signalledUsed = nextUsed;
    VarHandle.fullFence();
    if (!eventIndex) {
      return (memory.getShort(available) & AVAIL_F_NO_INTERRUPT) == 0;
    }
    int event = Short.toUnsignedInt(memory.getShort(available + AVAIL_RING + 2L * size));
    // The driver wants to know when the entry at index "event" was written: is it a new one?
    return ((nextUsed - event - 1) & 0xffff) < ((nextUsed - old) & 0xffff);
  }

  /** Tells the driver not to ring for new buffers; a hint (section 2.7.10). */
  public void suppressNotifications() {
    if (!eventIndex) {
      memory.putShort(used, USED_F_NO_NOTIFY);
    }
    // With event indices avail_event stays behind, which suppresses by itself.
  }

  /**
   * Asks the driver to ring for the next new buffer.
   *
   * @return true when buffers came before it could see that, so that it may not ring for them: look
   *     again; false when the queue is stopped
   */
  public boolean requestNotifications() {
    return requestNotificationsBeyond(0);
  }

  /**
   * Like {@link #requestNotifications}, for a device that leaves buffers where they are: asks to be
   * rung for the next buffer after those.
   *
   * @param waiting how many may stay
   */
  public boolean requestNotificationsBeyond(int waiting) {
    if (eventIndex) {
      long availableEvent = used + USED_RING + (long) USED_ELEMENT_BYTES * size;
      memory.putShort(availableEvent, (short) (nextAvailable + waiting));
    } else {
      memory.putShort(used, (short) 0);
    }
    VarHandle.fullFence();
    return !stopped && waiting() > waiting;
  }

  /**
   * What the driver configured and how far both sides are; with the guest's memory, all there is.
   */
  public QueueState state() {
    return new QueueState(
        new QueueLayout(size, descriptors, available, used),
        nextAvailable,
        nextUsed,
        signalledUsed);
  }

  private GuestFault fault(int head, int index, String problem) {
    return fault("descriptor " + index + " of the chain at " + head + ": " + problem);
  }

  /** A fault of this queue; for devices too, so that all say where. */
  public GuestFault fault(String problem) {
    return new GuestFault(name + ": " + problem);
  }
}
