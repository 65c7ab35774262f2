// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

import org.jspecify.annotations.Nullable;

/**
 * Connections by their two ports; a map whose look-up allocates nothing. Open addressing with
 * linear probing: the guest can choose ports that collide, and then looks through at most as many
 * entries as the device has connections. Not safe for use from several threads.
 */
final class ConnectionTable {
  private @Nullable VsockConnection[] slots = new VsockConnection[64];
  private int size;

  @Nullable VsockConnection get(int hostPort, int guestPort) {
    for (int i = slot(hostPort, guestPort); ; i = next(i)) {
      VsockConnection candidate = slots[i];
      if (candidate == null
          || (candidate.hostPort() == hostPort && candidate.guestPort() == guestPort)) {
        return candidate;
      }
    }
  }

  /** Adds a connection whose ports are not in the table. */
  void add(VsockConnection connection) {
    if (2 * ++size > slots.length) {
      @Nullable VsockConnection[] old = slots;
      slots = new VsockConnection[2 * old.length];
      for (VsockConnection each : old) {
        if (each != null) {
          place(each);
        }
      }
    }
    place(connection);
  }

  private void place(VsockConnection connection) {
    int i = slot(connection.hostPort(), connection.guestPort());
    while (slots[i] != null) {
      i = next(i);
    }
    slots[i] = connection;
  }

  void remove(VsockConnection connection) {
    int hole = slot(connection.hostPort(), connection.guestPort());
    while (slots[hole] != connection) {
      if (slots[hole] == null) {
        return;
      }
      hole = next(hole);
    }
    size--;
    // Moves back what could no longer be found across the hole (Knuth, TAOCP 6.4, algorithm R).
    for (int i = next(hole); ; i = next(i)) {
      VsockConnection candidate = slots[i];
      if (candidate == null) {
        slots[hole] = null;
        return;
      }
      int home = slot(candidate.hostPort(), candidate.guestPort());
      boolean reachable = hole <= i ? hole < home && home <= i : hole < home || home <= i;
      if (!reachable) {
        slots[hole] = candidate;
        hole = i;
      }
    }
  }

  /** A copy, so that connections may leave the table while it is gone through. */
  VsockConnection[] toArray() {
    VsockConnection[] all = new VsockConnection[size];
    int n = 0;
    for (VsockConnection each : slots) {
      if (each != null) {
        all[n++] = each;
      }
    }
    return all;
  }

  private int slot(int hostPort, int guestPort) {
    // Fibonacci hashing: ports are mostly consecutive numbers.
    long key = (long) hostPort << 32 | Integer.toUnsignedLong(guestPort);
    return (int) ((key * 0x9e37_79b9_7f4a_7c15L) >>> 40) & (slots.length - 1);
  }

  private int next(int slot) {
    return (slot + 1) & (slots.length - 1);
  }
}
