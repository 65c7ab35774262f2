// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import dev.nacelle.isolation.results.Results.Unit;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.List;

/** Numbers for people: three digits that count, and the unit that suits their size. */
final class Quantity {
  private record Step(double size, String name) {}

  private static final List<Step> TIMES =
      List.of(new Step(1e9, "s"), new Step(1e6, "ms"), new Step(1e3, "us"), new Step(1, "ns"));
  private static final List<Step> SIZES =
      List.of(
          new Step(1 << 30, "GiB"),
          new Step(1 << 20, "MiB"),
          new Step(1 << 10, "KiB"),
          new Step(1, "B"));
  private static final List<Step> NUMBERS =
      List.of(new Step(1e9, "G"), new Step(1e6, "M"), new Step(1e3, "k"), new Step(1, ""));

  private Quantity() {}

  /** As "3.1 ms", "64 MiB", "1.2 k/s", "12". */
  static String of(double value, Unit unit) {
    if (value < 0) {
      return "-" + of(-value, unit);
    }
    List<Step> steps =
        switch (unit) {
          case NANOSECONDS -> TIMES;
          case BYTES, BYTES_PER_SECOND -> SIZES;
          case PER_SECOND, COUNT -> NUMBERS;
        };
    // Rounded first: 999.96 us is 1 ms.
    double rounded = Double.parseDouble(digits(value));
    Step step = steps.get(steps.size() - 1);
    for (Step one : steps) {
      if (rounded >= one.size) {
        step = one;
        break;
      }
    }
    String number = digits(value / step.size);
    boolean rate = unit == Unit.BYTES_PER_SECOND || unit == Unit.PER_SECOND;
    return (step.name.isEmpty() ? number : number + " " + step.name) + (rate ? "/s" : "");
  }

  /** As "×12.3", "×0.98", "×0.0042": not finer than the ratio of two medians can be. */
  static String ratio(double ratio) {
    return "×" + digits(ratio >= 0.1 ? Math.rint(ratio * 100) / 100 : ratio);
  }

  /** Three digits that count, without an exponent. */
  static String digits(double value) {
    BigDecimal number = new BigDecimal(value).round(new MathContext(3));
    String text = number.toPlainString();
    return text.contains(".") ? text.replaceAll("\\.?0+$", "") : text;
  }
}
