// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * How much a guest may have of a device: bytes, operations, or both, each by a token bucket. A
 * bucket is full at first, holds at most its burst, and gets so many tokens back per second. What
 * it has none for waits in the guest's queue. One operation that is larger than the burst goes when
 * the bucket is full, and those after it wait until it is paid for. Immutable.
 *
 * <pre>{@code
 * RateLimit.bytes(DataSize.mebibytes(50))            // 50 MiB a second, and as much at once
 *     .andOperations(2_000, 8_000)                   // 2,000 operations a second, 8,000 at once
 * }</pre>
 */
public final class RateLimit {
  /** The most that a bucket holds, and gets per second: 2^40. */
  public static final long MAXIMUM = 1L << 40;

  private final @Nullable Bucket bytes;
  private final @Nullable Bucket operations;

  private RateLimit(@Nullable Bucket bytes, @Nullable Bucket operations) {
    this.bytes = bytes;
    this.operations = operations;
  }

  /**
   * A token bucket; a token is a byte or an operation.
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
   * So much a second, and what a second gives at once.
   *
   * @throws IllegalArgumentException when it is not 1 to {@link #MAXIMUM} bytes
   */
  public static RateLimit bytes(DataSize perSecond) {
    return bytes(perSecond, perSecond);
  }

  /**
   * So much a second, and so much at once.
   *
   * @throws IllegalArgumentException when one is not 1 to {@link #MAXIMUM} bytes
   */
  public static RateLimit bytes(DataSize perSecond, DataSize burst) {
    return new RateLimit(new Bucket(perSecond.bytes(), burst.bytes()), null);
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

  /** The bucket of bytes, where they are limited. */
  public Optional<Bucket> bytes() {
    return Optional.ofNullable(bytes);
  }

  /** The bucket of operations, where they are limited. */
  public Optional<Bucket> operations() {
    return Optional.ofNullable(operations);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof RateLimit limit
        && Objects.equals(bytes, limit.bytes)
        && Objects.equals(operations, limit.operations);
  }

  @Override
  public int hashCode() {
    return Objects.hash(bytes, operations);
  }

  @Override
  public String toString() {
    String ofBytes = bytes == null ? "" : "bytes: " + bytes;
    String ofOperations = operations == null ? "" : "operations: " + operations;
    return ofBytes + (bytes == null || operations == null ? "" : "; ") + ofOperations;
  }
}
