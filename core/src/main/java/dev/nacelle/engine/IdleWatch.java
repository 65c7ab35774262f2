// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Finds out that nothing has been under way for some time. Has a timer only while nothing is. Safe
 * for use from several threads.
 */
final class IdleWatch {
  /** Runs something later. */
  @FunctionalInterface
  interface Timers {
    Future<?> schedule(Runnable task, Duration delay);
  }

  private final Duration limit;
  private final LongSupplier nanoTime;
  private final Timers timers;
  private final Runnable onIdle;

  private int busy; // guarded by this
  private long quietSince; // guarded by this
  private @Nullable Future<?> timer; // guarded by this
  private boolean stopped; // guarded by this

  /**
   * @param nanoTime as {@link System#nanoTime}
   * @param onIdle called at most once, on a thread of the timers'
   */
  IdleWatch(Duration limit, LongSupplier nanoTime, Timers timers, Runnable onIdle) {
    this.limit = limit;
    this.nanoTime = nanoTime;
    this.timers = timers;
    this.onIdle = onIdle;
  }

  /** From now on. */
  synchronized void start() {
    quietSince = nanoTime.getAsLong();
    arm(limit);
  }

  synchronized void stop() {
    stopped = true;
    if (timer != null) {
      timer.cancel(false);
    }
  }

  /** Something is under way from before this call until the future completes. */
  <T> CompletableFuture<T> during(Supplier<CompletableFuture<T>> work) {
    begin();
    CompletableFuture<T> future;
    try {
      future = work.get();
    } catch (Throwable e) {
      end();
      throw e;
    }
    var unused = future.whenComplete((value, failure) -> end());
    return future;
  }

  private synchronized void begin() {
    busy++;
  }

  private synchronized void end() {
    busy--;
    if (busy == 0) {
      quietSince = nanoTime.getAsLong();
      if (timer == null) {
        arm(limit);
      }
    }
  }

  private synchronized void arm(Duration delay) {
    timer = stopped ? null : timers.schedule(this::check, delay);
  }

  private void check() {
    synchronized (this) {
      timer = null;
      if (stopped || busy > 0) {
        return;
      }
      Duration rest = limit.minusNanos(nanoTime.getAsLong() - quietSince);
      if (rest.compareTo(Duration.ZERO) > 0) {
        arm(rest);
        return;
      }
      stopped = true;
    }
    onIdle.run();
  }
}
