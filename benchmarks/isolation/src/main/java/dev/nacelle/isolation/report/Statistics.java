// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** Samples in order, and what is said of them. */
final class Statistics {
  /** From so many samples on, the 99th of a hundred means something. */
  static final int ENOUGH_FOR_TAIL = 100;

  private final double[] sorted;

  /**
   * @param samples at least one, all finite
   * @throws IllegalArgumentException for others
   */
  Statistics(List<Double> samples) {
    sorted = samples.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    if (sorted.length == 0 || !Arrays.stream(sorted).allMatch(Double::isFinite)) {
      throw new IllegalArgumentException("not all of its samples are finite numbers");
    }
  }

  int count() {
    return sorted.length;
  }

  double min() {
    return sorted[0];
  }

  double max() {
    return sorted[sorted.length - 1];
  }

  double median() {
    return quantile(0.5);
  }

  /**
   * Between the two samples that are nearest, in proportion (type 7 of Hyndman and Fan, "Sample
   * Quantiles in Statistical Packages", 1996).
   *
   * @param part 0 for the least to 1 for the greatest
   */
  double quantile(double part) {
    double position = part * (sorted.length - 1);
    int below = (int) position;
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
  }

  /** What 99 in 100 are not beyond; empty where there are fewer than 100. */
  Optional<Double> tail() {
    return sorted.length < ENOUGH_FOR_TAIL ? Optional.empty() : Optional.of(quantile(0.99));
  }

  /** So many of them at most, two or more, from the least to the greatest, evenly by rank. */
  double[] some(int most) {
    if (sorted.length <= most) {
      return sorted.clone();
    }
    double[] some = new double[most];
    Arrays.setAll(some, i -> sorted[(int) ((long) i * (sorted.length - 1) / (most - 1))]);
    return some;
  }
}
