// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.vsock;

/**
 * How much the guest has room for on one connection (virtio 1.2 section 5.10.6.3). Counters are
 * free-running 32-bit numbers; with at most 2^31 - 1 bytes on their way, their differences are
 * positive ints.
 */
final class SendCredit {
  private int sentCount;
  private int guestReadCount;
  private int guestLimit;

  /** The guest has connected with a buffer of so many bytes, unsigned. */
  void start(int bufferSize) {
    guestLimit = bounded(bufferSize);
  }

  private static int bounded(int bufferSize) {
    return bufferSize < 0 ? Integer.MAX_VALUE : bufferSize;
  }

  /** Takes over what a packet says; false when it acknowledges more than was sent. */
  boolean learn(int bufferSize, int forwarded) {
    int progress = forwarded - guestReadCount;
    if (progress > sentCount - guestReadCount) {
      return false;
    }
    // A packet that another of the guest's processors made earlier may arrive later: then progress
    // is negative, while the count itself never goes back.
    if (progress > 0) {
      guestReadCount = forwarded;
    }
    guestLimit = bounded(bufferSize);
    return true;
  }

  /** How many bytes may be sent now; 0 also where the guest has shrunk its buffer below that. */
  int bytes() {
    long free = Integer.toUnsignedLong(guestLimit) - (sentCount - guestReadCount);
    return (int) Math.max(0, Math.min(free, Integer.MAX_VALUE));
  }

  /** So many bytes are sent. */
  void use(int bytes) {
    sentCount += bytes;
  }
}
