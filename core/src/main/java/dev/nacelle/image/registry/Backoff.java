// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** How long to wait before another attempt. */
final class Backoff {
  /** What a server may ask for; who wants more should come back another time. */
  static final Duration LONGEST_REQUEST = Duration.ofMinutes(2);

  private static final Duration FIRST = Duration.ofMillis(500);
  private static final Duration LONGEST = Duration.ofSeconds(30);
  private static final int MAX_DOUBLINGS = 10;

  private Backoff() {}

  /**
   * Twice as long each time, and at random between half and all of that, so that many clients do
   * not come back at once.
   *
   * @param failures in a row, from 1
   */
  static Duration delay(int failures) {
    long whole = FIRST.toMillis() << Math.min(failures - 1, MAX_DOUBLINGS);
    long capped = Math.min(whole, LONGEST.toMillis());
    return Duration.ofMillis(ThreadLocalRandom.current().nextLong(capped / 2, capped + 1));
  }
}
