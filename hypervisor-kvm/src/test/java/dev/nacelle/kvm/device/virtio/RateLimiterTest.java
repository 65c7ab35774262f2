// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.kvm.Allocation;
import dev.nacelle.kvm.device.FakeDeviceResources;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class RateLimiterTest {
  private final FakeDeviceResources resources = new FakeDeviceResources(4096);
  private final AtomicInteger goneOn = new AtomicInteger();

  @AfterEach
  void close() {
    resources.close();
  }

  private RateLimiter limiter(RateLimit limit) {
    return new RateLimiter(limit, resources, goneOn::incrementAndGet);
  }

  @Test
  void admitsAllWithoutALimit() {
    RateLimiter limiter = new RateLimiter(null, resources, goneOn::incrementAndGet);
    assertTrue(limiter.admit(Long.MAX_VALUE));
    assertEquals(Integer.MAX_VALUE, limiter.piece(Integer.MAX_VALUE));
    assertEquals(0, resources.setTimers());
  }

  @Test
  void takesFromBothBucketsOrFromNone() {
    RateLimiter limiter =
        limiter(RateLimit.bytes(DataSize.bytes(100), DataSize.bytes(100)).andOperations(1, 2));
    assertTrue(limiter.admit(50));
    assertFalse(limiter.admit(51));
    resources.advance(Duration.ofMillis(10));
    assertTrue(limiter.admit(51), "the operation that was refused has cost nothing");
    assertFalse(limiter.admit(0));
    resources.advance(Duration.ofMillis(989));
    assertEquals(1, goneOn.get(), "a millisecond to the next operation");
    resources.advance(Duration.ofMillis(1));
    assertEquals(2, goneOn.get());
    assertTrue(limiter.admit(99), "bytes have come back meanwhile");
  }

  @Test
  void refusesAllUntilTheTimerComes() {
    RateLimiter limiter = limiter(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(1000)));
    assertTrue(limiter.admit(900));
    assertFalse(limiter.admit(200));
    assertTrue(limiter.isWaiting());
    assertFalse(limiter.admit(1), "or what is small would always be first");
    resources.advance(Duration.ofMillis(100));
    assertFalse(limiter.isWaiting());
    assertEquals(1, goneOn.get());
    assertTrue(limiter.admit(200));
  }

  @Test
  void cutsPiecesThatAreNoDebt() {
    RateLimiter limiter = limiter(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(300)));
    assertEquals(300, limiter.piece(5000));
    assertEquals(7, limiter.piece(7));
    assertEquals(5000, limiter(RateLimit.operations(1)).piece(5000));
  }

  @Test
  void allocatesNothing() {
    RateLimiter limiter =
        limiter(
            RateLimit.bytes(DataSize.bytes(1), DataSize.bytes(1 << 30)).andOperations(1, 1 << 30));
    RateLimiter refusing = limiter(RateLimit.operations(1));
    int rounds = 20_000;
    long before = 0;
    for (int i = 0; i < 2 * rounds; i++) {
      if (i == rounds) {
        before = Allocation.ofThisThread();
      }
      assertTrue(limiter.admit(100) && (refusing.admit(1) || refusing.isWaiting()));
    }
    long allocated = Allocation.ofThisThread() - before;
    assertTrue(allocated < rounds, allocated + " bytes allocated");
  }
}
