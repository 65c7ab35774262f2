// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Where the time went between the call and the sandbox being ready. Stages overlap: the image and
 * the kernel are resolved at once.
 *
 * @param entries by their start
 */
public record BootTimeline(List<Entry> entries) {
  /**
   * A stage, or a part of one.
   *
   * @param stage the stage
   * @param part what part of it, in a word or two; empty for the stage as a whole. Parts of {@link
   *     Stage#BOOT} and {@link Stage#PREPARE} are timed by the guest's own clock.
   * @param start since the call
   * @param duration how long it took
   */
  public record Entry(Stage stage, String part, Duration start, Duration duration) {}

  /** Copies the list. */
  public BootTimeline {
    entries = List.copyOf(entries);
  }

  /** How long a stage took as a whole; nothing when it was not entered. */
  public Optional<Duration> duration(Stage stage) {
    return entries.stream()
        .filter(entry -> entry.stage() == stage && entry.part().isEmpty())
        .map(Entry::duration)
        .findFirst();
  }

  /** From the call to the end of the last stage. */
  public Duration total() {
    return entries.stream()
        .map(entry -> entry.start().plus(entry.duration()))
        .max(Duration::compareTo)
        .orElse(Duration.ZERO);
  }

  /** A table for people, in milliseconds. */
  @Override
  public String toString() {
    StringBuilder table =
        new StringBuilder("                              start      took  (ms)\n");
    for (Entry entry : entries) {
      String name =
          entry.part().isEmpty()
              ? entry.stage().name().toLowerCase(Locale.ROOT)
              : "  " + entry.part();
      table.append(row(name, millis(entry.start()), millis(entry.duration())));
    }
    return table.append(row("ready", millis(total()), "")).toString();
  }

  private static String row(String name, String start, String took) {
    return String.format(Locale.ROOT, "%-25s %9s %9s", name, start, took).stripTrailing() + "\n";
  }

  private static String millis(Duration duration) {
    return String.format(Locale.ROOT, "%.1f", duration.toNanos() / 1e6);
  }
}
