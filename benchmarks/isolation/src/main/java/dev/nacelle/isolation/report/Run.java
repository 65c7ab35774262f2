// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import dev.nacelle.isolation.results.Results;
import dev.nacelle.isolation.results.Results.Better;
import dev.nacelle.isolation.results.Results.Figure;
import dev.nacelle.isolation.results.Results.Peer;
import dev.nacelle.isolation.results.Results.Series;
import dev.nacelle.isolation.results.Results.Where;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.jspecify.annotations.Nullable;

/** One file of results, and what is derived from it. */
final class Run {
  /** Whom all are compared with. */
  static final String BARE = "bare";

  /**
   * Of one figure and one isolation: its samples, or why there are none.
   *
   * @param warmup how many samples came before and do not count
   * @param note what is to be known of the samples; null for nothing
   */
  record Entry(
      @Nullable Statistics statistics, int warmup, @Nullable String none, @Nullable String note) {}

  private static final Entry NOT_TAKEN = new Entry(null, 0, "not taken", null);

  private final String name;
  private final Results results;
  private final Map<List<String>, Entry> entries = new HashMap<>();

  /**
   * @param name of the file, for readers
   * @throws IllegalArgumentException when a sample is no finite number
   */
  Run(String name, Results results) {
    this.name = name;
    this.results = results;
    for (Series series : results.series()) {
      List<String> key = List.of(series.figure(), series.isolation());
      try {
        entries.put(
            key,
            series.samples() == null
                ? new Entry(null, 0, series.none(), null)
                : new Entry(
                    new Statistics(series.samples()),
                    series.warmup() == null ? 0 : series.warmup(),
                    null,
                    series.note()));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            name + ": " + series.figure() + " of " + series.isolation() + ": " + e.getMessage(), e);
      }
    }
  }

  /**
   * Reads a file.
   *
   * @throws IOException as {@link Results#read}, and when a sample is no finite number
   */
  static Run read(Path file) throws IOException {
    try {
      return new Run("" + file.getFileName(), Results.read(file));
    } catch (IllegalArgumentException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  String name() {
    return name;
  }

  Results results() {
    return results;
  }

  boolean inLab() {
    return results.where() == Where.LAB;
  }

  Entry entry(Figure figure, Peer peer) {
    return entries.getOrDefault(List.of(figure.name(), peer.name()), NOT_TAKEN);
  }

  /** The isolations of which something was measured. */
  List<Peer> measured() {
    return results.isolations().stream()
        .filter(
            peer ->
                results.figures().stream()
                    .anyMatch(figure -> entry(figure, peer).statistics() != null))
        .toList();
  }

  /** The bare process, where it was measured. */
  Optional<Peer> bare() {
    return results.isolations().stream().filter(peer -> peer.name().equals(BARE)).findFirst();
  }

  /**
   * How many times the bare process's cost it is: of what is better low the ratio of the medians,
   * of what is better high its inverse, so that 2 is twice the time, or half the rate. Empty where
   * one of both was not taken, or is not above zero.
   */
  OptionalDouble cost(Figure figure, Peer peer) {
    Statistics mine = entry(figure, peer).statistics();
    Statistics theirs = bare().map(process -> entry(figure, process).statistics()).orElse(null);
    if (mine == null || theirs == null || !(mine.median() > 0) || !(theirs.median() > 0)) {
      return OptionalDouble.empty();
    }
    double ratio = mine.median() / theirs.median();
    return OptionalDouble.of(figure.better() == Better.LOWER ? ratio : 1 / ratio);
  }

  /** A median, and its cost where that is known: "3.1 ms ×12"; empty where there are no samples. */
  Optional<String> cell(Figure figure, Peer peer) {
    Statistics statistics = entry(figure, peer).statistics();
    if (statistics == null) {
      return Optional.empty();
    }
    String median = Quantity.of(statistics.median(), figure.unit());
    OptionalDouble cost = peer.name().equals(BARE) ? OptionalDouble.empty() : cost(figure, peer);
    return Optional.of(
        cost.isPresent() ? median + " " + Quantity.ratio(cost.getAsDouble()) : median);
  }

  /** What all of its times are, in a word or two. */
  String clock() {
    return switch (results.clock()) {
      case INSTRUCTIONS -> "emulated instructions, 1 ns each";
      case TIME -> "time";
    };
  }

  /** Where it was taken, in a word or two. */
  String place() {
    return inLab() ? "the lab (an emulated machine)" : "hardware";
  }
}
