// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import java.util.Arrays;

/** Measured values of one thing, in the order in which they were taken. Not thread-safe. */
public final class Samples {
  private long[] values = new long[64];
  private int count;

  /** Adds one. */
  public void add(long value) {
    if (count == values.length) {
      values = Arrays.copyOf(values, 2 * count);
    }
    values[count++] = value;
  }

  /** How many there are. */
  public int count() {
    return count;
  }

  /** The n-th value that was added, from 0. */
  public long get(int n) {
    return values[n];
  }

  /** The smallest; there must be one. */
  public long min() {
    return quantile(0);
  }

  /** The middle one, the lower of two; there must be one. */
  public long median() {
    return quantile(0.5);
  }

  /** The largest; there must be one. */
  public long max() {
    return quantile(1);
  }

  /** The smallest value that at least this share (0 to 1) of all values does not exceed. */
  public long quantile(double share) {
    if (count == 0) {
      throw new IllegalStateException("nothing was measured");
    }
    long[] sorted = Arrays.copyOf(values, count);
    Arrays.sort(sorted);
    return sorted[Math.max(0, (int) Math.ceil(share * count) - 1)];
  }
}
