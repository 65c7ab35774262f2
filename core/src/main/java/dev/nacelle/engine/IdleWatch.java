// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DiskUse;
import dev.nacelle.GuestStatistics;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Finds out that a guest has done nothing for some time: by what its processes have used between
 * two readings. The time is counted by the guest's clock, which stands still where the guest does.
 * Safe for use from several threads.
 */
final class IdleWatch {
  /** Less than this part of one processor's time is nothing: what a timer that fires takes. */
  private static final int PART = 100;

  /** Readings in the time that is watched for, so that it is told that much late at most. */
  private static final int READINGS = 8;

  private static final Duration SHORTEST = Duration.ofMillis(100);
  private static final Duration LONGEST = Duration.ofSeconds(10);

  private final Duration limit;
  private final Supplier<CompletableFuture<GuestStatistics>> read;
  private final Timers timers;
  private final Runnable onIdle;

  private @Nullable GuestStatistics last; // guarded by this
  private Duration idle = Duration.ZERO; // guarded by this
  private boolean touched; // guarded by this
  private @Nullable Future<?> timer; // guarded by this
  private boolean stopped; // guarded by this

  /**
   * @param read what the guest has used so far; one that fails is tried again
   * @param onIdle called at most once, on a thread that must not block
   */
  IdleWatch(
      Duration limit,
      Supplier<CompletableFuture<GuestStatistics>> read,
      Timers timers,
      Runnable onIdle) {
    this.limit = limit;
    this.read = read;
    this.timers = timers;
    this.onIdle = onIdle;
  }

  /** From now on. */
  void start() {
    look();
  }

  synchronized void stop() {
    stopped = true;
    if (timer != null) {
      timer.cancel(false);
    }
  }

  /** The guest was given something to do, however little that is. */
  synchronized void touch() {
    touched = true;
  }

  private void look() {
    var unused =
        read.get()
            .whenComplete(
                (now, failure) -> {
                  if (isOver(now)) {
                    onIdle.run();
                  }
                });
  }

  /**
   * @param now null where nothing could be read
   */
  private synchronized boolean isOver(@Nullable GuestStatistics now) {
    if (stopped) {
      return false;
    }
    GuestStatistics before = last;
    if (now != null) {
      if (before != null) {
        Duration between = now.uptime().minus(before.uptime());
        boolean active = touched || between.isNegative() || isActive(before, now, between);
        idle = active ? Duration.ZERO : idle.plus(between);
      }
      touched = false;
      last = now;
    }
    if (idle.compareTo(limit) >= 0) {
      stopped = true;
      return true;
    }
    Duration delay = limit.dividedBy(READINGS);
    delay = delay.compareTo(LONGEST) > 0 ? LONGEST : delay;
    delay = limit.minus(idle).compareTo(delay) < 0 ? limit.minus(idle) : delay;
    timer = timers.schedule(this::look, delay.compareTo(SHORTEST) < 0 ? SHORTEST : delay);
    return false;
  }

  /** Of what is not counted it is active. */
  private static boolean isActive(GuestStatistics before, GuestStatistics now, Duration between) {
    if (now.cpuTime().isEmpty() || before.cpuTime().isEmpty()) {
      return true;
    }
    Duration used = now.cpuTime().get().minus(before.cpuTime().get());
    return (!used.isZero() && used.compareTo(between.dividedBy(PART)) >= 0)
        || requests(now) != requests(before);
  }

  private static long requests(GuestStatistics of) {
    return requests(of.imageDisk()) + requests(of.scratchDisk());
  }

  private static long requests(Optional<DiskUse> disk) {
    return disk.map(use -> use.reads() + use.writes()).orElse(0L);
  }
}
