// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import java.time.Duration;

/** When a pull has to be over. Immutable. */
public final class Deadline {
  private final Duration timeout;
  private final long end;

  /** So much time from now on. */
  public Deadline(Duration timeout) {
    this.timeout = timeout;
    this.end = System.nanoTime() + timeout.toNanos();
  }

  /** What is left; not positive when it is over. */
  public Duration remaining() {
    return Duration.ofNanos(end - System.nanoTime());
  }

  /** The shorter of that and what is left, and at least a millisecond. */
  Duration atMost(Duration duration) {
    Duration left = remaining();
    Duration shorter = left.compareTo(duration) < 0 ? left : duration;
    return shorter.toMillis() < 1 ? Duration.ofMillis(1) : shorter;
  }

  boolean isOver() {
    return remaining().isNegative();
  }

  /**
   * Goes on while there is time.
   *
   * @throws ImageException when it is over
   */
  public void check() {
    if (isOver()) {
      throw exceeded();
    }
  }

  /** What ends a pull that took too long. */
  public ImageException exceeded() {
    return new ImageException(
        ImageException.Reason.NETWORK,
        "The pull did not end within its timeout of " + timeout,
        "Pull again, which goes on from where this ended, or give it more time"
            + " (RegistryOptions.Builder.pullTimeout).",
        null);
  }
}
