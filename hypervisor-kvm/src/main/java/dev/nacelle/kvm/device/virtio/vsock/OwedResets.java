// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

/**
 * Resets for packets that belong to no connection, until the guest gives room to send them.
 * Bounded: when it is full, the guest's packets wait (virtio 1.2 section 5.10.6.1). Not safe for
 * use from several threads.
 */
final class OwedResets {
  private static final int CAPACITY = 128;

  private final long[] hostCids = new long[CAPACITY];
  private final int[] hostPorts = new int[CAPACITY];
  private final int[] guestPorts = new int[CAPACITY];
  private final int[] types = new int[CAPACITY];
  private int head;
  private int size;

  boolean isEmpty() {
    return size == 0;
  }

  boolean isFull() {
    return size == CAPACITY;
  }

  /** Remembers whom to answer; there must be room. */
  void add(VsockHeader packet) {
    int i = (head + size) % CAPACITY;
    hostCids[i] = packet.destinationCid;
    hostPorts[i] = packet.destinationPort;
    guestPorts[i] = packet.sourcePort;
    types[i] = packet.type;
    size++;
  }

  /** Makes the next answer, except for the guest's CID. */
  void take(VsockHeader answer) {
    answer.sourceCid = hostCids[head];
    answer.sourcePort = hostPorts[head];
    answer.destinationPort = guestPorts[head];
    answer.type = types[head];
    answer.operation = VsockHeader.RESET;
    answer.flags = 0;
    answer.length = 0;
    answer.bufferSize = 0;
    answer.forwarded = 0;
    head = (head + 1) % CAPACITY;
    size--;
  }

  void clear() {
    head = 0;
    size = 0;
  }
}
