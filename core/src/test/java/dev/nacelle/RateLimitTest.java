// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.RateLimit.Bucket;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RateLimitTest {
  @Test
  void aBurstIsWhatASecondGivesUnlessItIsSaid() {
    assertEquals(new RateLimit(new Bucket(5, 5), null), RateLimit.bytes(5));
    assertEquals(new RateLimit(new Bucket(5, 6), null), RateLimit.bytes(5, 6));
    assertEquals(new RateLimit(null, new Bucket(7, 7)), RateLimit.operations(7));
    assertEquals(
        new RateLimit(new Bucket(5, 5), new Bucket(7, 8)), RateLimit.bytes(5).andOperations(7, 8));
  }

  @Test
  void saysWhatItLimits() {
    assertEquals(
        "bytes: 5/s; operations: 7/s, 8 at once",
        RateLimit.bytes(5).andOperations(7, 8).toString());
    assertEquals("operations: 7/s", RateLimit.operations(7).toString());
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -1, Long.MIN_VALUE, RateLimit.MAXIMUM + 1, Long.MAX_VALUE})
  void whatIsNoRateIsRefused(long number) {
    assertThrows(IllegalArgumentException.class, () -> RateLimit.bytes(number));
    assertThrows(IllegalArgumentException.class, () -> RateLimit.bytes(1, number));
    assertThrows(IllegalArgumentException.class, () -> RateLimit.operations(number));
    assertThrows(IllegalArgumentException.class, () -> RateLimit.bytes(1).andOperations(number, 1));
  }

  @Test
  void aLimitOfNothingIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> new RateLimit(null, null));
  }

  @Test
  void eachDeviceHasItsOwn() {
    RateLimit limit = RateLimit.bytes(5);
    assertEquals(new RateLimits(limit, null, null), RateLimits.NONE.withDisks(limit));
    assertEquals(new RateLimits(null, limit, null), RateLimits.NONE.withEntropy(limit));
    assertEquals(new RateLimits(null, null, limit), RateLimits.NONE.withSocket(limit));
    assertEquals(
        new RateLimits(limit, limit, limit),
        RateLimits.NONE.withDisks(limit).withEntropy(limit).withSocket(limit));
  }
}
