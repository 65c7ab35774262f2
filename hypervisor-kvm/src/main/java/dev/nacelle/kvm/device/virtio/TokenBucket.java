// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.RateLimit;

/**
 * Tokens that come back as time goes by, up to a burst; full at first. What costs more than the
 * burst can be had when it is full, and leaves a debt. Exact: what comes back in pieces of time is
 * what comes back in the whole. Not safe for use from several threads.
 */
final class TokenBucket {
  private static final long NANOS = 1_000;
  private static final long MICROS = 1_000_000;

  /** Longer than anything waits. */
  private static final long MOST_SECONDS = 1L << 30;

  private final long perSecond;
  private final long burst;

  /** Negative where there is a debt. */
  private long tokens;

  /** Of the next token, in millionths; with {@link RateLimit#MAXIMUM} per second no overflow. */
  private long part;

  /** Up to when tokens have come back: whole microseconds after the first moment. */
  private long time;

  TokenBucket(RateLimit.Bucket limit, long now) {
    perSecond = limit.perSecond();
    burst = limit.burst();
    tokens = burst;
    time = now;
  }

  /** What can be had at once. */
  long burst() {
    return burst;
  }

  /** Gives back what has come back by now. */
  void refill(long now) {
    long micros = (now - time) / NANOS;
    if (micros <= 0) {
      return;
    }
    time += micros * NANOS;
    long missing = burst - tokens;
    long seconds = micros / MICROS;
    if (seconds > missing / perSecond) {
      fill();
      return;
    }
    long parts = micros % MICROS * perSecond + part;
    long gained = seconds * perSecond + parts / MICROS;
    if (gained >= missing) {
      fill();
    } else {
      tokens += gained;
      part = parts % MICROS;
    }
  }

  private void fill() {
    tokens = burst;
    part = 0;
  }

  /** Whether so many tokens can be taken now. */
  boolean has(long cost) {
    return tokens >= Math.min(cost, burst);
  }

  /** Takes tokens; only after {@link #has}. */
  void take(long cost) {
    tokens -= cost;
  }

  /** When it will have so many tokens, which it has not. */
  long timeOf(long cost) {
    long needed = Math.min(cost, burst) - tokens;
    long seconds = Math.min(needed / perSecond, MOST_SECONDS);
    long parts = needed % perSecond * MICROS - part;
    long micros = (parts + perSecond - 1) / perSecond;
    return time + (seconds * MICROS + micros) * NANOS;
  }
}
