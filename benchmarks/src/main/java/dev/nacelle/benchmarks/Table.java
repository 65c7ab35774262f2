// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Rows of text in columns; the first is aligned left, the others, numbers, right. */
public final class Table {
  private static final String GAP = "  ";

  private final List<List<String>> rows = new ArrayList<>();

  public Table(String... heading) {
    rows.add(List.of(heading));
  }

  /** Adds a row with as many cells as the heading has. */
  public Table row(String... cells) {
    if (cells.length != rows.get(0).size()) {
      throw new IllegalArgumentException("the table has " + rows.get(0).size() + " columns");
    }
    rows.add(List.of(cells));
    return this;
  }

  /** Adds a row: the name, then median, minimum, 90 % and maximum as milliseconds, and how many. */
  public Table nanos(String name, Samples samples) {
    return row(
        name,
        millis(samples.median()),
        millis(samples.min()),
        millis(samples.quantile(0.9)),
        millis(samples.max()),
        String.valueOf(samples.count()));
  }

  /** A table for {@link #nanos} rows. */
  public static Table ofMillis(String what) {
    return new Table(what, "median ms", "min", "90 %", "max", "n");
  }

  /** Nanoseconds as milliseconds, with three digits after the point. */
  public static String millis(long nanos) {
    return String.format(Locale.ROOT, "%.3f", nanos / 1e6);
  }

  /** Bytes as KiB, with one digit after the point. */
  public static String kib(double bytes) {
    return String.format(Locale.ROOT, "%.1f", bytes / 1024);
  }

  @Override
  public String toString() {
    int columns = rows.get(0).size();
    StringBuilder text = new StringBuilder();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder();
      for (int column = 0; column < columns; column++) {
        String cell = row.get(column);
        String padding = " ".repeat(width(column) - cell.length());
        line.append(column == 0 ? cell + padding : GAP + padding + cell);
      }
      text.append(line.toString().stripTrailing()).append('\n');
    }
    return text.toString();
  }

  private int width(int column) {
    return rows.stream().mapToInt(row -> row.get(column).length()).max().orElse(0);
  }
}
