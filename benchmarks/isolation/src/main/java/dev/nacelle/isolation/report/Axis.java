// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import java.util.ArrayList;
import java.util.List;

/** Where values are from left to right: in proportion, or by their logarithms. */
final class Axis {
  /** From this ratio of the greatest to the least on, a logarithm. */
  private static final double LARGE = 30;

  private static final int LINEAR_TICKS = 4;
  private static final int MOST_TICKS = 6;

  private final double low;
  private final double high;
  private final boolean logarithmic;
  private final double left;
  private final double width;

  private Axis(double low, double high, boolean logarithmic, double left, double width) {
    this.low = low;
    this.high = high;
    this.logarithmic = logarithmic;
    this.left = left;
    this.width = width;
  }

  /**
   * For bars, which begin at zero, or at a power of ten below the least.
   *
   * @param least of the values
   * @param greatest of the values
   */
  static Axis ofBars(double least, double greatest, double left, double width) {
    if (least > 0 && greatest >= least * LARGE) {
      return new Axis(powerBelow(least * 0.7), greatest, true, left, width);
    }
    return new Axis(0, greatest > 0 ? greatest : 1, false, left, width);
  }

  /** For points, with a little room at both ends. */
  static Axis ofPoints(double least, double greatest, double left, double width) {
    if (least > 0 && greatest >= least * LARGE) {
      return new Axis(least / 1.2, greatest * 1.2, true, left, width);
    }
    double room = greatest > least ? (greatest - least) * 0.04 : Math.abs(greatest) * 0.1 + 1e-9;
    double low = least - room;
    return new Axis(least >= 0 ? Math.max(0, low) : low, greatest + room, false, left, width);
  }

  /** For ratios, by their logarithms; 1 is on it. */
  static Axis ofRatios(double least, double greatest, double left, double width) {
    return new Axis(
        Math.min(0.8, least / 1.15), Math.max(1.25, greatest * 1.15), true, left, width);
  }

  boolean logarithmic() {
    return logarithmic;
  }

  /** A value's place; one that is beyond an end is at that end. */
  double at(double value) {
    double part =
        logarithmic
            ? (Math.log(Math.max(value, low)) - Math.log(low)) / (Math.log(high) - Math.log(low))
            : (value - low) / (high - low);
    return left + width * Math.max(0, Math.min(1, part));
  }

  double left() {
    return left;
  }

  double right() {
    return left + width;
  }

  /** Round values to put numbers at. */
  List<Double> ticks() {
    return logarithmic ? logarithmicTicks() : linearTicks();
  }

  private List<Double> linearTicks() {
    double raw = (high - low) / LINEAR_TICKS;
    double power = powerBelow(raw);
    double step =
        power * (raw / power < 1.5 ? 1 : raw / power < 3.5 ? 2 : raw / power < 7.5 ? 5 : 10);
    List<Double> ticks = new ArrayList<>();
    for (double n = Math.ceil(low / step); n * step <= high; n++) {
      ticks.add(n * step);
    }
    return ticks;
  }

  private List<Double> logarithmicTicks() {
    double decades = Math.log10(high) - Math.log10(low);
    double[] within =
        decades < 1.2
            ? new double[] {1, 2, 5}
            : decades < 2.5 ? new double[] {1, 3} : new double[] {1};
    double factor = Math.pow(10, Math.max(1, Math.ceil(decades / MOST_TICKS)));
    List<Double> ticks = new ArrayList<>();
    for (double power = powerBelow(low); power <= high; power *= factor) {
      for (double part : within) {
        if (power * part >= low && power * part <= high) {
          ticks.add(power * part);
        }
      }
    }
    return ticks;
  }

  private static double powerBelow(double value) {
    return Math.pow(10, Math.floor(Math.log10(value) + 1e-12));
  }
}
