// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import org.jspecify.annotations.Nullable;

/**
 * How much a guest may have of a device: bytes, operations, or both, each by a token bucket. A
 * bucket is full at first, holds at most its burst, and gets so many tokens back per second. What
 * it has none for waits in the guest's queue. One operation that is larger than the burst goes when
 * the bucket is full, and those after it wait until it is paid for.
 *
 * <pre>{@code
 * RateLimit.bytes(50 << 20)                          // 50 MiB a second, and as much at once
 *     .andOperations(2_000, 8_000)                   // 2,000 operations a second, 8,000 at once
 * }</pre>
 *
 * @param bytes the bucket of bytes; null where they are not limited
 * @param operations the bucket of operations; null where they are not limited
 */
public record RateLimit(@Nullable Bucket bytes, @Nullable Bucket operations) {
  /** The most that a bucket holds, and gets per second: 2^40. */
  public static final long MAXIMUM = 1L << 40;

  /**
   * A token bucket.
   *
   * @param perSecond tokens that come back each second, from 1 to {@link #MAXIMUM}
   * @param burst tokens that it holds, from 1 to {@link #MAXIMUM}
   */
  public record Bucket(long perSecond, long burst) {
    /**
     * Checks both.
     *
     * @throws IllegalArgumentException when one is out of its bounds
     */
    public Bucket {
      check("a rate", perSecond);
      check("a burst", burst);
    }

    private static void check(String what, long value) {
      if (value < 1 || value > MAXIMUM) {
        throw new IllegalArgumentException(what + " is 1 to 2^40, not " + value);
      }
    }

    @Override
    public String toString() {
      return perSecond + "/s" + (burst == perSecond ? "" : ", " + burst + " at once");
    }
  }

  /**
   * Checks that there is a limit.
   *
   * @throws IllegalArgumentException when both are null
   */
  public RateLimit {
    if (bytes == null && operations == null) {
      throw new IllegalArgumentException("a rate limit limits bytes, operations or both");
    }
  }

  /**
   * So many bytes a second, and what a second gives at once.
   *
   * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
   */
  public static RateLimit bytes(long perSecond) {
    return bytes(perSecond, perSecond);
  }

  /**
   * So many bytes a second, and so many at once.
   *
   * @throws IllegalArgumentException when one is not 1 to {@link #MAXIMUM}
   */
  public static RateLimit bytes(long perSecond, long burst) {
    return new RateLimit(new Bucket(perSecond, burst), null);
  }

  /**
   * So many operations a second, and what a second gives at once.
   *
   * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM}
   */
  public static RateLimit operations(long perSecond) {
    return operations(perSecond, perSecond);
  }

  /**
   * So many operations a second, and so many at once.
   *
   * @throws IllegalArgumentException when one is not 1 to {@link #MAXIMUM}
   */
  public static RateLimit operations(long perSecond, long burst) {
    return new RateLimit(null, new Bucket(perSecond, burst));
  }

  /**
   * The same limit of bytes, with one of operations.
   *
   * @throws IllegalArgumentException when one is not 1 to {@link #MAXIMUM}
   */
  public RateLimit andOperations(long perSecond, long burst) {
    return new RateLimit(bytes, new Bucket(perSecond, burst));
  }

  @Override
  public String toString() {
    String ofBytes = bytes == null ? "" : "bytes: " + bytes;
    String ofOperations = operations == null ? "" : "operations: " + operations;
    return ofBytes + (bytes == null || operations == null ? "" : "; ") + ofOperations;
  }
}
