// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * A channel that was offered: a ring in each direction once the guest has opened it, until it
 * closes it, or it is rescinded. Safe for use from several threads.
 */
final class Channel {
  /** What the host has behind a channel, and offers by it. Called on the bus's thread. */
  interface Service {
    /** The interface's type, by which the guest finds a driver. */
    UUID type();

    /** Which of its type it is. */
    UUID instance();

    /** VMBUS_CHANNEL_ flags. */
    int flags();

    /** Puts the user-defined data, from there on. */
    default void putData(ByteBuffer offer, int at) {}

    /** The guest has opened the channel. */
    void opened(Channel channel);

    /** The guest has written, or has made room. */
    void signalled(Channel channel);

    /** The guest has closed the channel: the rings are there until this returns. */
    void closed(Channel channel);
  }

  // enum vmbus_packet_type
  static final int INBAND = 6;
  static final int GPA_DIRECT = 9;
  static final int COMPLETION = 11;

  /** struct vmpacket_descriptor, at the head of a packet. */
  static final int DESCRIPTOR = 16;

  /** Behind each packet: where it began. */
  private static final int TRAILER = 8;

  /**
   * A packet from the guest.
   *
   * @param bytes all of it, little endian
   * @param offset where its content begins, behind the descriptor and what belongs to that
   */
  record Packet(int type, int offset, long transaction, ByteBuffer bytes) {}

  private final Vmbus bus;
  private final int id;
  private final Service service;
  private @Nullable Ring incoming;
  private @Nullable Ring outgoing;
  private int vcpu;

  Channel(Vmbus bus, int id, Service service) {
    this.bus = bus;
    this.id = id;
    this.service = service;
  }

  int id() {
    return id;
  }

  Service service() {
    return service;
  }

  synchronized boolean isOpen() {
    return outgoing != null;
  }

  synchronized void open(Ring fromGuest, Ring toGuest, int interruptedVcpu) {
    vcpu = interruptedVcpu;
    incoming = fromGuest;
    outgoing = toGuest;
  }

  synchronized void interrupt(int interruptedVcpu) {
    vcpu = interruptedVcpu;
  }

  /** From here on the rings are the guest's. */
  synchronized void close() {
    incoming = null;
    outgoing = null;
  }

  /** Takes the next packet from the guest; null when there is none. */
  synchronized @Nullable Packet receive() {
    Ring ring = incoming;
    if (ring == null || ring.readable() == 0) {
      return null;
    }
    Ring.fence();
    int start = ring.readIndex();
    ByteBuffer descriptor = littleEndian(ring.read(start, DESCRIPTOR));
    int offset = descriptor.getShort(2) * 8;
    int length = Short.toUnsignedInt(descriptor.getShort(4)) * 8;
    if (offset < DESCRIPTOR || offset > length || length + TRAILER > ring.readable()) {
      throw new IllegalStateException("a packet of " + length + " bytes, its content at " + offset);
    }
    Packet packet =
        new Packet(
            descriptor.getShort(0),
            offset,
            descriptor.getLong(8),
            littleEndian(ring.read(start, length)));
    Ring.fence();
    ring.readIndex(ring.after(start, length + TRAILER));
    Ring.fence();
    int wanted = ring.pendingSendSize();
    int room = ring.writable();
    // Once, as Windows does: when there was too little room, and now is enough.
    if (wanted != 0 && room > wanted && room - length - TRAILER <= wanted) {
      bus.signal(vcpu, id);
    }
    return packet;
  }

  /** How much room a packet takes in a ring. */
  static int space(int content) {
    return DESCRIPTOR + (content + 7 & ~7) + TRAILER;
  }

  /** Whether there is room for a packet; if not, the guest will signal when there is. */
  synchronized boolean hasRoom(int content, int reserve) {
    Ring ring = outgoing;
    if (ring == null) {
      return false;
    }
    int wanted = space(content) + reserve;
    if (ring.writable() > wanted) {
      return true;
    }
    ring.pendingSendSize(wanted);
    Ring.fence();
    return ring.writable() > wanted;
  }

  /** Sends a packet, if there is room. */
  synchronized boolean send(int type, long transaction, byte[] content) {
    Ring ring = outgoing;
    if (ring == null || !hasRoom(content.length, 0)) {
      return false;
    }
    ring.pendingSendSize(0);
    int start = ring.writeIndex();
    int space = space(content.length);
    ByteBuffer bytes = littleEndian(new byte[space]);
    bytes
        .putShort(0, (short) type)
        .putShort(2, (short) (DESCRIPTOR / 8))
        .putShort(4, (short) ((space - TRAILER) / 8))
        .putLong(8, transaction)
        .put(DESCRIPTOR, content)
        .putLong(space - TRAILER, (long) start << 32);
    ring.write(start, bytes.array());
    Ring.fence();
    ring.writeIndex(ring.after(start, space));
    Ring.fence();
    // Only where it was empty, as the guest has it the other way round (hv_signal_on_write).
    if (!ring.isMasked() && ring.readIndex() == start) {
      bus.signal(vcpu, id);
    }
    return true;
  }

  static ByteBuffer littleEndian(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
