// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import java.util.concurrent.TimeUnit;

/**
 * How much CPU time the vCPUs of one machine may have together: so much in each period of 100 ms,
 * which they take in slices, as the kernel's own CFS bandwidth control has it
 * (Documentation/scheduler/sched-bwc.rst). What one has had beyond its slice is a debt of the next
 * periods; what none has taken is gone when its period is. Safe for use from several threads.
 */
public final class CpuQuota {
  static final long PERIOD_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

  /** At most; long enough that taking the next costs nothing beside it. */
  static final long SLICE_NANOS = TimeUnit.MILLISECONDS.toNanos(5);

  private final long quotaNanos;
  private long left; // guarded by this
  private long periodEnd; // guarded by this
  private boolean begun; // guarded by this

  /**
   * @param cpus how many processors' time it is
   */
  public CpuQuota(double cpus) {
    quotaNanos = (long) Math.min(cpus * PERIOD_NANOS, Long.MAX_VALUE / 4.0);
  }

  /**
   * Takes a slice.
   *
   * @param nanoTime now, as {@link System#nanoTime}
   * @return its length in nanoseconds, or the negated time to wait for the next period
   */
  synchronized long take(long nanoTime) {
    if (!begun || nanoTime - periodEnd >= 0) {
      long periods = begun ? (nanoTime - periodEnd) / PERIOD_NANOS + 1 : 1;
      left = Math.min(quotaNanos, left + saturated(periods));
      periodEnd = begun ? periodEnd + periods * PERIOD_NANOS : nanoTime + PERIOD_NANOS;
      begun = true;
    }
    if (left <= 0) {
      return nanoTime - periodEnd;
    }
    long slice = Math.min(left, SLICE_NANOS);
    left -= slice;
    return slice;
  }

  private long saturated(long periods) {
    return periods > Long.MAX_VALUE / 4 / quotaNanos ? Long.MAX_VALUE / 4 : periods * quotaNanos;
  }

  /** A vCPU has had that much more than its slice. */
  synchronized void owe(long nanos) {
    left -= nanos;
  }
}
