// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.network;

/**
 * So much per second, by a token bucket: it is full at first, holds at most its burst, and gets so
 * many tokens back each second. A token is a byte, or whatever is counted.
 *
 * <pre>{@code
 * Rate.perSecond(10 << 20)             // 10 MiB a second, and as much at once
 * Rate.perSecond(200).withBurst(400)   // 200 a second, 400 at once
 * }</pre>
 *
 * @param perSecond tokens that come back each second, from 1 to {@link #MAXIMUM}
 * @param burst tokens that it holds, from 1 to {@link #MAXIMUM}
 */
public record Rate(long perSecond, long burst) {
  /** The most that a bucket holds, and gets per second: 2^40. */
  public static final long MAXIMUM = 1L << 40;

  /**
   * Checks both.
   *
   * @throws IllegalArgumentException when one is out of its bounds
   */
  public Rate {
    check("a rate", perSecond);
    check("a burst", burst);
  }

  private static void check(String what, long value) {
    if (value < 1 || value > MAXIMUM) {
      throw new IllegalArgumentException(what + " is 1 to 2^40, not " + value);
    }
  }

  /**
   * So many a second, and what a second gives at once.
   *
   * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
   */
  public static Rate perSecond(long count) {
    return new Rate(count, count);
  }

  /**
   * The same with so many at once.
   *
   * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
   */
  public Rate withBurst(long count) {
    return new Rate(perSecond, count);
  }

  @Override
  public String toString() {
    return perSecond + "/s" + (burst == perSecond ? "" : ", " + burst + " at once");
  }
}
