// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.BootTimeline;
import dev.nacelle.BootTimeline.Entry;
import dev.nacelle.Stage;
import dev.nacelle.internal.jfr.Recordings;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.Callable;

/** Times the stages of one start. Safe for use from several threads. */
final class StageClock {
  private final long call = System.nanoTime();
  private final SandboxEvents events;
  private final List<Entry> entries = new ArrayList<>();
  private final EnumSet<Stage> running = EnumSet.noneOf(Stage.class); // guarded by this
  private Stage current = Stage.IMAGE; // guarded by this
  private boolean failed; // guarded by this

  StageClock(SandboxEvents events) {
    this.events = events;
  }

  <T> T time(Stage stage, Callable<T> work) throws Exception {
    enter(stage);
    Runnable recording = Recordings.stage(events.id(), events.name(), stage.name());
    long start = System.nanoTime();
    events.stageStarted(stage);
    try {
      T result = work.call();
      leave(stage, false);
      return result;
    } catch (Throwable e) {
      leave(stage, true);
      throw e;
    } finally {
      Duration duration = Duration.ofNanos(System.nanoTime() - start);
      recording.run();
      add(Entry.of(stage, Duration.ofNanos(start - call), duration));
      events.stageEnded(stage, duration);
    }
  }

  private synchronized void enter(Stage stage) {
    running.add(stage);
    if (!failed) {
      current = stage;
    }
  }

  private synchronized void leave(Stage stage, boolean failure) {
    running.remove(stage);
    if (failure && !failed) {
      failed = true;
      current = stage;
    }
  }

  /**
   * The stage that failed first; while none has, the first of those that are not over, for some
   * overlap, or the last that was.
   */
  synchronized Stage current() {
    return failed || running.isEmpty() ? current : running.iterator().next();
  }

  /** Adds what is timed by others. */
  synchronized void add(Entry entry) {
    entries.add(entry);
  }

  /** When the start was called for, as {@link System#nanoTime}. */
  long call() {
    return call;
  }

  /** A stage that has ended, as a whole. */
  Entry stage(Stage stage) {
    return timeline().stage(stage).orElseThrow();
  }

  /** Entries by their start; a stage before its parts. */
  synchronized BootTimeline timeline() {
    return BootTimeline.of(
        entries.stream()
            .sorted(
                Comparator.comparing(Entry::start).thenComparing(entry -> entry.part().orElse("")))
            .toList());
  }
}
