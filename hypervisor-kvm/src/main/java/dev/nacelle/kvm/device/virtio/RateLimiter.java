// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.Timer;
import org.jspecify.annotations.Nullable;

/**
 * Holds a queue, or one direction of a device, to a limit of bytes and operations. What is refused
 * stays where it is, in the guest's queue; until there are tokens for it the device leaves that
 * alone, and then a timer has it go on. So nothing waits but the buffers of that queue.
 *
 * <p>It outlives a reset of the device, which would give a guest a full bucket each time. Call with
 * the device's lock; allocates nothing.
 */
public final class RateLimiter {
  private final DeviceResources resources;
  private final @Nullable TokenBucket bytes;
  private final @Nullable TokenBucket operations;
  private final @Nullable Timer timer;

  /** Something was refused, and the timer is set. */
  private volatile boolean waiting;

  /**
   * The buckets are full.
   *
   * @param limit null for none
   * @param goOn called on the event loop, without the device's lock, after something was refused
   */
  public RateLimiter(@Nullable RateLimit limit, DeviceResources resources, Runnable goOn) {
    this.resources = resources;
    bytes = bucket(limit == null ? null : limit.bytes().orElse(null));
    operations = bucket(limit == null ? null : limit.operations().orElse(null));
    timer =
        limit == null
            ? null
            : resources.timer(
                () -> {
                  waiting = false;
                  goOn.run();
                });
  }

  private @Nullable TokenBucket bucket(RateLimit.@Nullable Bucket limit) {
    return limit == null ? null : new TokenBucket(limit, resources.nanoTime());
  }

  /** Whether everything is refused until the timer comes. */
  public boolean isWaiting() {
    return waiting;
  }

  /** The largest piece of what can be cut anywhere, in bytes, that is no debt. */
  public int piece(int length) {
    return bytes == null ? length : (int) Math.min(length, bytes.burst());
  }

  /**
   * Takes what one operation of so many bytes costs, or nothing.
   *
   * @return false when it must wait
   */
  public boolean admit(long length) {
    if (timer == null) {
      return true;
    }
    if (waiting) {
      return false;
    }
    long now = resources.nanoTime();
    long when = now;
    if (bytes != null) {
      bytes.refill(now);
      when = bytes.has(length) ? now : bytes.timeOf(length);
    }
    if (operations != null) {
      operations.refill(now);
      long itsTime = operations.has(1) ? now : operations.timeOf(1);
      when = itsTime - when > 0 ? itsTime : when;
    }
    if (when != now) {
      waiting = true;
      timer.set(when);
      return false;
    }
    if (bytes != null) {
      bytes.take(length);
    }
    if (operations != null) {
      operations.take(1);
    }
    return true;
  }
}
