// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.Rate;

/** How much of a rate is left. Not safe for use from several threads. */
final class TokenBucket {
  private static final double NANOS_PER_SECOND = 1e9;

  private final long perSecond;
  private final long burst;
  private double left;
  private long last;

  TokenBucket(Rate rate, long now) {
    perSecond = rate.perSecond();
    burst = rate.burst();
    left = burst;
    last = now;
  }

  /** Takes one, if one is there. */
  boolean take(long now) {
    if (available(now) < 1) {
      return false;
    }
    left--;
    return true;
  }

  /** Takes as many as were used, which may be more than there were. */
  void use(long count) {
    left -= count;
  }

  /** How many there are; none where more were used. */
  long available(long now) {
    left = Math.min((double) burst, left + (now - last) * (perSecond / NANOS_PER_SECOND));
    last = now;
    return (long) left;
  }

  /** Whether so many are there, of what a burst has at most. */
  boolean has(long count, long now) {
    return available(now) >= Math.min(count, burst);
  }

  /** Nanoseconds until so many are there, of what a burst has at most; call after available. */
  long nanosUntil(long count) {
    return (long) Math.ceil((Math.min(count, burst) - left) * (NANOS_PER_SECOND / perSecond));
  }
}
