// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class IdleWatchTest {
  private static final Duration LIMIT = Duration.ofNanos(100);

  private long now;
  private @Nullable FutureTask<Void> timer;
  private Duration delay = Duration.ZERO;
  private int idle;
  private final IdleWatch watch = new IdleWatch(LIMIT, () -> now, this::schedule, () -> idle++);

  private Future<?> schedule(Runnable task, Duration after) {
    assertTrue(timer == null || timer.isDone(), "two timers");
    delay = after;
    timer = new FutureTask<>(task, null);
    return timer;
  }

  private void timerFires() {
    FutureTask<Void> due = timer;
    now += delay.toNanos();
    timer = null;
    due.run();
  }

  @Test
  void nothingAtAllIsIdleOnce() {
    watch.start();
    assertEquals(LIMIT, delay);
    timerFires();
    assertEquals(1, idle);
    assertEquals(null, timer);
  }

  @Test
  void whatIsUnderWayNeedsNoTimerAndItsEndBeginsTheTimeAnew() {
    watch.start();
    CompletableFuture<Void> one = watch.during(CompletableFuture::new);
    CompletableFuture<Void> two = watch.during(CompletableFuture::new);
    timerFires();
    assertEquals(null, timer);
    one.complete(null);
    assertEquals(null, timer);
    two.completeExceptionally(new IllegalStateException());
    assertEquals(LIMIT, delay);
    timerFires();
    assertEquals(1, idle);
  }

  @Test
  void whatCameAndWentMeanwhileIsWaitedForTheRest() {
    watch.start();
    now += 40;
    watch.during(() -> CompletableFuture.completedFuture(null)).join();
    now -= 40;
    timerFires();
    assertEquals(0, idle);
    assertEquals(Duration.ofNanos(40), delay);
    timerFires();
    assertEquals(1, idle);
  }

  @Test
  void workThatThrowsIsOver() {
    watch.start();
    assertThrows(
        IllegalStateException.class,
        () ->
            watch.during(
                () -> {
                  throw new IllegalStateException();
                }));
    timerFires();
    assertEquals(1, idle);
  }

  @Test
  void stoppedWatchFindsNothing() {
    watch.start();
    FutureTask<Void> due = timer;
    watch.stop();
    assertTrue(due.isCancelled());
    watch.during(() -> CompletableFuture.completedFuture(null)).join();
    assertEquals(0, idle);
    assertFalse(timer != due);
  }
}
