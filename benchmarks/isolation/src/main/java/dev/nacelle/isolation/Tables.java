// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Peer;
import dev.nacelle.isolation.results.Results.Series;
import dev.nacelle.isolation.results.Results.Unit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Medians, for the terminal. */
final class Tables {
  private Tables() {}

  static String of(Results results) {
    List<List<String>> rows = new ArrayList<>();
    List<String> head = new ArrayList<>(List.of("median"));
    results.isolations().stream().map(Peer::name).forEach(head::add);
    rows.add(head);
    Map<String, List<String>> reasons = new LinkedHashMap<>();
    Map<String, List<String>> notes = new LinkedHashMap<>();
    for (Figure figure : results.figures()) {
      List<String> row = new ArrayList<>(List.of(figure.title()));
      for (Peer peer : results.isolations()) {
        for (Series series : results.series()) {
          if (series.figure().equals(figure.name()) && series.isolation().equals(peer.name())) {
            List<Double> samples = series.samples();
            row.add(samples == null ? "none" : text(median(samples), figure.unit()));
            if (samples == null) {
              String reason = series.none();
              reasons
                  .computeIfAbsent(peer.name() + ": " + reason, key -> new ArrayList<>())
                  .add(figure.name());
            }
            if (series.note() != null) {
              notes
                  .computeIfAbsent(peer.name() + ": " + series.note(), key -> new ArrayList<>())
                  .add(figure.name());
            }
          }
        }
      }
      rows.add(row);
    }
    StringBuilder text = new StringBuilder();
    int columns = head.size();
    int[] widths = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < columns; i++) {
        String pad = " ".repeat(widths[i] - row.get(i).length());
        line.append(i == 0 ? row.get(i) + pad : "  " + pad + row.get(i));
      }
      text.append(line).append('\n');
    }
    reasons.forEach(
        (reason, figures) ->
            text.append("none, ")
                .append(reason)
                .append(" (")
                .append(
                    figures.size() == results.figures().size() ? "all" : String.join(", ", figures))
                .append(")\n"));
    notes.forEach(
        (note, figures) ->
            text.append(note).append(" (").append(String.join(", ", figures)).append(")\n"));
    return text.toString();
  }

  static double median(List<Double> samples) {
    List<Double> sorted = samples.stream().sorted().toList();
    int middle = sorted.size() / 2;
    return sorted.size() % 2 == 1
        ? sorted.get(middle)
        : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
  }

  /** A value with a unit of a size that is read easily. */
  static String text(double value, Unit unit) {
    return switch (unit) {
      case NANOSECONDS ->
          value < 1e3
              ? number(value) + " ns"
              : value < 1e6 ? number(value / 1e3) + " us" : number(value / 1e6) + " ms";
      case BYTES -> number(value / (1 << 20)) + " MiB";
      case BYTES_PER_SECOND -> number(value / (1 << 20)) + " MiB/s";
      case PER_SECOND -> number(value) + "/s";
      case COUNT -> String.format(Locale.ROOT, "%.0f", value);
    };
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
  }
}
