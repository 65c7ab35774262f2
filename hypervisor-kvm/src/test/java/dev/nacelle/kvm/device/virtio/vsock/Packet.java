// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A packet; ports are named from the guest's point of view. */
record Packet(
    long sourceCid,
    long destinationCid,
    int guestPort,
    int hostPort,
    int type,
    int operation,
    int flags,
    int bufferSize,
    int forwarded,
    byte[] payload) {
  static final int HEADER = 44;

  // Virtio 1.2 section 5.10.6; written again here, so that a wrong number is found.
  static final int REQUEST = 1;
  static final int RESPONSE = 2;
  static final int RST = 3;
  static final int SHUTDOWN = 4;
  static final int RW = 5;
  static final int CREDIT_UPDATE = 6;
  static final int CREDIT_REQUEST = 7;

  static Packet of(int operation, int guestPort, int hostPort) {
    return new Packet(
        VsockGuest.CID, 2, guestPort, hostPort, 1, operation, 0, 256 << 10, 0, new byte[0]);
  }

  Packet withCids(long source, long destination) {
    return new Packet(
        source,
        destination,
        guestPort,
        hostPort,
        type,
        operation,
        flags,
        bufferSize,
        forwarded,
        payload);
  }

  Packet withType(int newType) {
    return new Packet(
        sourceCid,
        destinationCid,
        guestPort,
        hostPort,
        newType,
        operation,
        flags,
        bufferSize,
        forwarded,
        payload);
  }

  Packet withFlags(int newFlags) {
    return new Packet(
        sourceCid,
        destinationCid,
        guestPort,
        hostPort,
        type,
        operation,
        newFlags,
        bufferSize,
        forwarded,
        payload);
  }

  Packet withCredit(int newBufferSize, int newForwarded) {
    return new Packet(
        sourceCid,
        destinationCid,
        guestPort,
        hostPort,
        type,
        operation,
        flags,
        newBufferSize,
        newForwarded,
        payload);
  }

  Packet withPayload(byte... newPayload) {
    return new Packet(
        sourceCid,
        destinationCid,
        guestPort,
        hostPort,
        type,
        operation,
        flags,
        bufferSize,
        forwarded,
        newPayload);
  }

  byte[] encode() {
    return ByteBuffer.allocate(HEADER + payload.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(sourceCid)
        .putLong(destinationCid)
        .putInt(guestPort)
        .putInt(hostPort)
        .putInt(payload.length)
        .putShort((short) type)
        .putShort((short) operation)
        .putInt(flags)
        .putInt(bufferSize)
        .putInt(forwarded)
        .put(payload)
        .array();
  }

  /** A packet from the host. */
  static Packet decode(byte[] bytes) {
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    long source = buffer.getLong();
    long destination = buffer.getLong();
    int hostPort = buffer.getInt();
    int guestPort = buffer.getInt();
    byte[] payload = new byte[buffer.getInt()];
    int type = Short.toUnsignedInt(buffer.getShort());
    int operation = Short.toUnsignedInt(buffer.getShort());
    int flags = buffer.getInt();
    int bufferSize = buffer.getInt();
    int forwarded = buffer.getInt();
    buffer.get(payload);
    if (buffer.hasRemaining()) {
      throw new IllegalStateException(
          "the used length has " + buffer.remaining() + " bytes more than the packet");
    }
    return new Packet(
        source,
        destination,
        guestPort,
        hostPort,
        type,
        operation,
        flags,
        bufferSize,
        forwarded,
        payload);
  }
}
