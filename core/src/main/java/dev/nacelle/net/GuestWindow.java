// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

/** What a guest has sent of a flow, and may send: it gets credit again for what waits no more. */
final class GuestWindow {
  private final int size;
  private final Credit credit;

  /** Bytes in all, and those for which it has credit again. */
  private long sent;

  private long returned;

  /**
   * @param size what it may send at once, in bytes
   */
  GuestWindow(int size) {
    this.size = size;
    credit = new Credit(size, size);
  }

  int size() {
    return size;
  }

  /** Bytes that the guest has sent. */
  long sent() {
    return sent;
  }

  /**
   * It has sent so many.
   *
   * @throws FrameException when they are more than it might
   */
  void use(int bytes) throws FrameException {
    credit.use(bytes);
    sent += bytes;
  }

  /**
   * Gives it credit again, where that is worth a frame: a quarter of the window.
   *
   * @param waiting of what it has sent, bytes that wait here
   * @return what the guest is to be told; 0 for nothing
   */
  int give(int waiting) {
    int amount = (int) (sent - waiting - returned);
    if (amount < size / 4) {
      return 0;
    }
    credit.give(amount);
    returned += amount;
    return amount;
  }
}
