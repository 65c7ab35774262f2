// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.net.FrameException.Violation;

/**
 * How many bytes of a flow one side may still send, as both sides count it: the window at first,
 * less with each DATA, more with each CREDIT. The side that receives finds in it that the other
 * sends too much; the side that sends, how much it may, and that the other gives more than was
 * agreed on.
 */
final class Credit {
  private final int largest;
  private int left;

  /**
   * @param window the first, at most the largest
   * @param largest that was agreed on
   */
  Credit(int window, int largest) {
    if (window < 0 || window > largest || largest > Frames.MAX_WINDOW) {
      throw new IllegalArgumentException("no window: " + window + " of " + largest);
    }
    this.left = window;
    this.largest = largest;
  }

  /** Bytes that may be sent now. */
  int left() {
    return left;
  }

  /**
   * So many were sent.
   *
   * @throws FrameException when they are more than might be
   */
  void use(int bytes) throws FrameException {
    if (bytes > left) {
      throw new FrameException(
          Violation.OVER_CREDIT, bytes + " bytes where " + left + " might be sent");
    }
    left -= bytes;
  }

  /**
   * So many may be sent in addition.
   *
   * @throws FrameException when they are more than was agreed on, together with what was left
   */
  void add(int bytes) throws FrameException {
    if (bytes > largest - left) {
      throw new FrameException(
          Violation.TOO_MUCH_CREDIT,
          bytes + " bytes in addition to " + left + ", where a window has " + largest);
    }
    left += bytes;
  }

  /**
   * This side sends so many.
   *
   * @throws IllegalArgumentException when they are more than it may
   */
  void spend(int bytes) {
    if (bytes > left) {
      throw new IllegalArgumentException(bytes + " bytes where " + left + " might be sent");
    }
    left -= bytes;
  }

  /**
   * This side lets so many be sent in addition.
   *
   * @throws IllegalArgumentException when they are more than was agreed on
   */
  void give(int bytes) {
    if (bytes > largest - left) {
      throw new IllegalArgumentException(bytes + " bytes more than " + left + " of " + largest);
    }
    left += bytes;
  }
}
