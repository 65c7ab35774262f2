// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/**
 * A stream socket of the guest as a kernel keeps it: it honours its credit, and checks that the
 * host does. Both sides send {@link #pattern}, so that every byte can be checked where it arrives.
 */
final class GuestSocket {
  final int guestPort;
  final int hostPort;
  boolean established;

  /** What the guest's program has done. */
  boolean endedOutput;

  boolean closed;

  /** What the host has said. */
  boolean hostEndedOutput;

  boolean reset;

  long sent;
  long received;
  long read;
  private final int bufferSize;
  private long toldRead;
  private int hostBufferSize;
  private int hostForwarded;

  GuestSocket(int guestPort, int hostPort, int bufferSize) {
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.bufferSize = bufferSize;
  }

  /** The byte at a position of what a port sends. */
  static byte pattern(int port, boolean fromGuest, long position) {
    return (byte) (position * 31 + (position >>> 9) + port + (fromGuest ? 100 : 0));
  }

  Packet packet(int operation) {
    toldRead = read;
    return Packet.of(operation, guestPort, hostPort).withCredit(bufferSize, (int) read);
  }

  /** How much may be sent now. */
  int credit() {
    return established && !endedOutput && !closed && !reset
        ? hostBufferSize - ((int) sent - hostForwarded)
        : 0;
  }

  Packet data(int length) {
    assertTrue(length <= credit());
    byte[] payload = new byte[length];
    for (int i = 0; i < length; i++) {
      payload[i] = pattern(guestPort, true, sent + i);
    }
    sent += length;
    return packet(Packet.RW).withPayload(payload);
  }

  /** Takes a packet from the host. */
  void receive(Packet packet) {
    hostBufferSize = packet.bufferSize();
    hostForwarded = packet.forwarded();
    assertTrue((int) sent - hostForwarded >= 0, "the host has read what was not sent");
    switch (packet.operation()) {
      case Packet.RST -> reset = true;
      case Packet.SHUTDOWN -> {
        assertEquals(2, packet.flags());
        hostEndedOutput = true;
      }
      case Packet.RW -> {
        assertTrue(established, "data before the connection was accepted");
        assertTrue(!hostEndedOutput && !reset, "data after the end of output");
        int length = packet.payload().length;
        assertTrue(length > 0);
        assertTrue(
            length <= bufferSize - (received - toldRead), "the host sent more than its credit");
        for (int i = 0; i < length; i++) {
          byte expected = pattern(guestPort, false, received + i);
          if (packet.payload()[i] != expected) {
            throw new AssertionError("wrong byte at " + (received + i) + " of port " + guestPort);
          }
        }
        received += length;
      }
      case Packet.RESPONSE -> established = true;
      default ->
          assertTrue(
              packet.operation() == Packet.CREDIT_UPDATE
                  || packet.operation() == Packet.CREDIT_REQUEST,
              () -> "operation " + packet.operation());
    }
  }

  /** The guest's program reads; returns whether the host should be told (as Linux decides). */
  boolean read(int most) {
    read += Math.min(most, received - read);
    return read > toldRead && bufferSize - (received - toldRead) < 64 << 10;
  }
}
