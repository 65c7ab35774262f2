// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Where the time went between the call and the sandbox being ready, on one clock: the host's
 * monotonic one, counted from the call. Stages overlap: the image and the kernel are resolved at
 * once.
 *
 * <p>{@link Stage#BOOT} has these parts, whose ends are the guest's own marks:
 *
 * <ul>
 *   <li>{@code kernel}: from kernel entry, when the first vCPU first enters the guest as the host
 *       sees it, to init entry, the agent's first act;
 *   <li>{@code modules}: loading what the agent needs to dial;
 *   <li>{@code connect}: until the agent has dialled the host;
 *   <li>{@code answer}: until it has answered the first call, which it does once the other modules
 *       are loaded. Then the guest is ready, and {@link Stage#PREPARE} follows.
 * </ul>
 *
 * <p>The guest times them by its own clock (CLOCK_BOOTTIME). The dial, which both see, puts that
 * onto the host's clock, to within what a packet takes from host to guest. Parts of PREPARE are
 * durations of the guest's, one after the other. Marks of a guest that do not fit into their stage
 * are left out. {@link Stage#IMAGE} has the part {@code data disks} where there are some.
 * Immutable.
 */
public final class BootTimeline {
  private final List<Entry> entries;

  private BootTimeline(List<Entry> entries) {
    this.entries = List.copyOf(entries);
  }

  /** With these entries, by their start; copies the list. */
  public static BootTimeline of(List<Entry> entries) {
    return new BootTimeline(entries);
  }

  /** All entries, by their start; a stage before its parts. */
  public List<Entry> entries() {
    return entries;
  }

  /** A stage as a whole; nothing when it was not entered. */
  public Optional<Entry> stage(Stage stage) {
    return entry(stage, Optional.empty());
  }

  /** How long a stage took as a whole; nothing when it was not entered. */
  public Optional<Duration> duration(Stage stage) {
    return stage(stage).map(Entry::duration);
  }

  /** A part of a stage; nothing when there is none of that name. */
  public Optional<Entry> part(Stage stage, String part) {
    return entry(stage, Optional.of(part));
  }

  private Optional<Entry> entry(Stage stage, Optional<String> part) {
    return entries.stream()
        .filter(entry -> entry.stage() == stage && entry.part().equals(part))
        .findFirst();
  }

  /** From the call to the end of the last stage. */
  public Duration total() {
    return entries.stream()
        .map(entry -> entry.start().plus(entry.duration()))
        .max(Duration::compareTo)
        .orElse(Duration.ZERO);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof BootTimeline that && entries.equals(that.entries);
  }

  @Override
  public int hashCode() {
    return entries.hashCode();
  }

  /** A table for people, in milliseconds. */
  @Override
  public String toString() {
    StringBuilder table =
        new StringBuilder("                              start      took  (ms)\n");
    for (Entry entry : entries) {
      String name =
          entry
              .part()
              .map(part -> "  " + part)
              .orElseGet(() -> entry.stage().name().toLowerCase(Locale.ROOT));
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

  /** A stage, or a part of one. Immutable. */
  public static final class Entry {
    private final Stage stage;
    private final @Nullable String part;
    private final Duration start;
    private final Duration duration;

    private Entry(Stage stage, @Nullable String part, Duration start, Duration duration) {
      this.stage = Objects.requireNonNull(stage);
      this.part = part;
      this.start = Objects.requireNonNull(start);
      this.duration = Objects.requireNonNull(duration);
    }

    /** A stage as a whole, with what the getters of the same names tell. */
    public static Entry of(Stage stage, Duration start, Duration duration) {
      return new Entry(stage, null, start, duration);
    }

    /** A part of a stage, with what the getters of the same names tell. */
    public static Entry of(Stage stage, String part, Duration start, Duration duration) {
      return new Entry(stage, Objects.requireNonNull(part), start, duration);
    }

    /** The stage. */
    public Stage stage() {
      return stage;
    }

    /** Which part of it, in a word or two; empty for the stage as a whole. */
    public Optional<String> part() {
      return Optional.ofNullable(part);
    }

    /** When it began, since the call. */
    public Duration start() {
      return start;
    }

    /** How long it took. */
    public Duration duration() {
      return duration;
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Entry entry
          && stage == entry.stage
          && Objects.equals(part, entry.part)
          && start.equals(entry.start)
          && duration.equals(entry.duration);
    }

    @Override
    public int hashCode() {
      return Objects.hash(stage, part, start, duration);
    }

    @Override
    public String toString() {
      return stage + (part == null ? "" : " " + part) + ": " + duration + " from " + start;
    }
  }
}
