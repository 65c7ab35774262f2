// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.BootTimeline.Entry;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;

/** Times the stages of one start. Safe for use from several threads. */
final class StageClock {
  private static final System.Logger LOGGER = System.getLogger(StageClock.class.getName());

  private final long call = System.nanoTime();
  private final String sandbox;
  private final SandboxListener listener;
  private final List<Entry> entries = new ArrayList<>();
  private volatile Stage current = Stage.IMAGE;

  StageClock(String sandbox, SandboxListener listener) {
    this.sandbox = sandbox;
    this.listener = listener;
  }

  <T> T time(Stage stage, Callable<T> work) throws Exception {
    current = stage;
    StageEvent event = new StageEvent(sandbox, stage);
    event.begin();
    long start = System.nanoTime();
    tell(() -> listener.stageStarted(sandbox, stage));
    try {
      return work.call();
    } finally {
      Duration duration = Duration.ofNanos(System.nanoTime() - start);
      event.commit();
      add(new Entry(stage, "", Duration.ofNanos(start - call), duration));
      tell(() -> listener.stageEnded(sandbox, stage, duration));
    }
  }

  /** The stage that was entered last. */
  Stage current() {
    return current;
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
    return timeline().part(stage, "").orElseThrow();
  }

  /** Entries by their start; a stage before its parts. */
  synchronized BootTimeline timeline() {
    return new BootTimeline(
        entries.stream()
            .sorted(Comparator.comparing(Entry::start).thenComparing(Entry::part))
            .toList());
  }

  void tell(Runnable call) {
    try {
      call.run();
    } catch (RuntimeException e) {
      LOGGER.log(System.Logger.Level.WARNING, "a sandbox listener failed", e);
    }
  }
}
