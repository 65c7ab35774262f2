// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.RateLimit;
import java.math.BigInteger;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenBucketTest {
  private static final long SECOND = 1_000_000_000L;

  private static TokenBucket bucket(long perSecond, long burst) {
    return new TokenBucket(new RateLimit.Bucket(perSecond, burst), 0);
  }

  @Test
  void isFullAtFirstAndThenHasWhatComesBack() {
    TokenBucket bucket = bucket(10, 25);
    assertTrue(bucket.has(25));
    bucket.take(25);
    assertFalse(bucket.has(1));
    bucket.refill(SECOND);
    assertTrue(bucket.has(10));
    assertFalse(bucket.has(11));
  }

  @Test
  void holdsNoMoreThanItsBurst() {
    TokenBucket bucket = bucket(10, 25);
    bucket.refill(1000 * SECOND);
    bucket.take(25);
    assertFalse(bucket.has(1));
  }

  @Test
  void givesWhatIsLargerThanTheBurstWhenItIsFullAndHasItPaidAfterwards() {
    TokenBucket bucket = bucket(10, 20);
    bucket.take(1);
    assertFalse(bucket.has(100), "not full");
    assertEquals(SECOND / 10, bucket.timeOf(100));
    bucket.refill(SECOND / 10);
    assertTrue(bucket.has(100));
    bucket.take(100);
    assertFalse(bucket.has(0), "not even what costs nothing: there is a debt");
    assertEquals(SECOND / 10 + 8 * SECOND + SECOND / 10, bucket.timeOf(1));
    bucket.refill(8 * SECOND + SECOND / 10);
    assertTrue(bucket.has(0));
    assertFalse(bucket.has(1));
  }

  @Test
  void doesNotGoBackInTime() {
    TokenBucket bucket = bucket(10, 20);
    bucket.refill(SECOND);
    bucket.take(20);
    bucket.refill(0);
    assertFalse(bucket.has(1));
    bucket.refill(SECOND + SECOND / 10);
    assertTrue(bucket.has(1));
    assertFalse(bucket.has(2));
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1",
    "3, 1",
    "7, 1099511627776",
    "999983, 4096",
    "1099511627776, 1",
    "1099511627776, 1099511627776",
    "1, 1099511627776"
  })
  void saysTheFirstMicrosecondAtWhichThereAreEnough(long perSecond, long burst) {
    TokenBucket bucket = bucket(perSecond, burst);
    bucket.take(burst);
    long cost = Math.min(burst, 12_345);
    long time = bucket.timeOf(cost);
    TokenBucket before = bucket(perSecond, burst);
    before.take(burst);
    before.refill(time - 1000);
    assertFalse(before.has(cost));
    bucket.refill(time);
    assertTrue(bucket.has(cost));
  }

  @Test
  void doesNotOverflowWhereADebtIsTheLargestThereIs() {
    TokenBucket bucket = bucket(1, RateLimit.MAXIMUM);
    bucket.take(Integer.MAX_VALUE);
    bucket.take(RateLimit.MAXIMUM);
    assertTrue(bucket.timeOf(RateLimit.MAXIMUM) > 0);
    bucket.refill(bucket.timeOf(RateLimit.MAXIMUM));
    bucket.refill(Long.MAX_VALUE);
    assertFalse(bucket.has(RateLimit.MAXIMUM));
  }

  /** In any stretch of time: no more than the burst and what comes back in it, nor less. */
  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void givesExactlyWhatComesBackHoweverItIsAskedFor(long seed) {
    Random random = new Random(seed);
    long perSecond = 1 + (random.nextLong() >>> 1) % RateLimit.MAXIMUM >>> random.nextInt(40);
    perSecond = Math.max(1, perSecond);
    // Never full while it is looked at, so that nothing is lost.
    TokenBucket bucket = bucket(perSecond, RateLimit.MAXIMUM);
    bucket.take(RateLimit.MAXIMUM);
    long now = 0;
    long taken = 0;
    for (int i = 0; i < 10_000; i++) {
      now += random.nextInt(100_000);
      bucket.refill(now);
      for (long wanted = RateLimit.MAXIMUM / 2; wanted > 0; wanted /= 2) {
        if (bucket.has(wanted)) {
          bucket.take(wanted);
          taken += wanted;
        }
      }
    }
    BigInteger exact =
        BigInteger.valueOf(now / 1000)
            .multiply(BigInteger.valueOf(perSecond))
            .divide(BigInteger.valueOf(1_000_000));
    assertTrue(exact.longValueExact() - taken <= 1 && taken <= exact.longValueExact());
  }
}
