// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.DataSize.bytes;
import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.RateLimit.Bucket;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RateLimitTest {
  @Test
  void aBurstIsWhatASecondGivesUnlessItIsSaid() {
    assertLimits(new Bucket(5, 5), null, RateLimit.bytes(bytes(5)));
    assertLimits(new Bucket(5, 6), null, RateLimit.bytes(bytes(5), bytes(6)));
    assertLimits(null, new Bucket(7, 7), RateLimit.operations(7));
    assertLimits(new Bucket(5, 5), new Bucket(7, 8), RateLimit.bytes(bytes(5)).andOperations(7, 8));
  }

  private static void assertLimits(
      @Nullable Bucket bytes, @Nullable Bucket operations, RateLimit limit) {
    assertEquals(Optional.ofNullable(bytes), limit.bytes());
    assertEquals(Optional.ofNullable(operations), limit.operations());
  }

  @Test
  void limitsAreEqualWhenTheySayTheSame() {
    RateLimit limit = RateLimit.bytes(bytes(5), bytes(6)).andOperations(7, 8);
    RateLimit same = RateLimit.bytes(bytes(5), bytes(6)).andOperations(7, 8);
    assertEquals(limit, same);
    assertEquals(limit.hashCode(), same.hashCode());
    for (RateLimit other :
        List.of(
            RateLimit.bytes(bytes(5), bytes(6)),
            RateLimit.operations(7, 8),
            RateLimit.bytes(bytes(5), bytes(6)).andOperations(7, 9),
            RateLimit.bytes(bytes(5), bytes(7)).andOperations(7, 8))) {
      assertNotEquals(limit, other);
    }
  }

  @Test
  void saysWhatItLimits() {
    assertEquals(
        "bytes: 5/s; operations: 7/s, 8 at once",
        RateLimit.bytes(bytes(5)).andOperations(7, 8).toString());
    assertEquals("operations: 7/s", RateLimit.operations(7).toString());
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -1, Long.MIN_VALUE, RateLimit.MAXIMUM + 1, Long.MAX_VALUE})
  void whatIsNoRateIsRefused(long number) {
    RateLimit limit = RateLimit.bytes(bytes(1));
    assertRefused("a rate is 1 to 2^40, not " + number, () -> RateLimit.operations(number));
    assertRefused("a burst is 1 to 2^40, not " + number, () -> RateLimit.operations(1, number));
    assertRefused("a rate is 1 to 2^40, not " + number, () -> limit.andOperations(number, 1));
    assertRefused("a burst is 1 to 2^40, not " + number, () -> limit.andOperations(1, number));
    if (number >= 0) {
      DataSize size = bytes(number);
      assertRefused("a rate is 1 to 2^40, not " + number, () -> RateLimit.bytes(size));
      assertRefused("a burst is 1 to 2^40, not " + number, () -> RateLimit.bytes(bytes(1), size));
    }
  }

  @Test
  void eachDeviceHasItsOwn() {
    RateLimit disks = RateLimit.operations(1);
    RateLimit entropy = RateLimit.operations(2);
    RateLimit socket = RateLimit.operations(3);
    RateLimits all = RateLimits.NONE.withDisks(disks).withEntropy(entropy).withSocket(socket);
    assertEquals(Optional.of(disks), all.disks());
    assertEquals(Optional.of(entropy), all.entropy());
    assertEquals(Optional.of(socket), all.socket());
    assertEquals(
        "[disks operations: 1/s, entropy operations: 2/s, socket operations: 3/s]", all.toString());
    RateLimits same = RateLimits.NONE.withSocket(socket).withEntropy(entropy).withDisks(disks);
    assertEquals(all, same);
    assertEquals(all.hashCode(), same.hashCode());
    for (RateLimits fewer : List.of(all.withDisks(null), all.withEntropy(null))) {
      assertNotEquals(all, fewer);
    }
    assertEquals(RateLimits.NONE, all.withDisks(null).withEntropy(null).withSocket(null));
  }
}
