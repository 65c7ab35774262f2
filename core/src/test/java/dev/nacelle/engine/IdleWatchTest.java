// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.DiskUse;
import dev.nacelle.GuestStatistics;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class IdleWatchTest {
  private static final Duration LIMIT = Duration.ofSeconds(40);
  private static final Duration STEP = Duration.ofSeconds(5);

  private Duration uptime = Duration.ofHours(1);
  private @Nullable Duration cpu = Duration.ZERO;
  private long requests;
  private boolean unreadable;
  private @Nullable FutureTask<Void> timer;
  private Duration delay = Duration.ZERO;
  private int idle;
  private final IdleWatch watch = new IdleWatch(LIMIT, this::read, this::schedule, () -> idle++);

  private CompletableFuture<GuestStatistics> read() {
    return unreadable
        ? CompletableFuture.failedFuture(new IllegalStateException("no answer"))
        : CompletableFuture.completedFuture(
            GuestStatistics.builder(uptime)
                .cpuTime(cpu)
                .scratchDisk(
                    requests == 0
                        ? null
                        : DiskUse.of(DataSize.bytes(0), DataSize.bytes(0), 0, requests))
                .build());
  }

  private Future<?> schedule(Runnable task, Duration after) {
    assertTrue(timer == null || timer.isDone(), "two timers");
    delay = after;
    timer = new FutureTask<>(task, null);
    return timer;
  }

  /** Time goes on, on both sides. */
  private void goOn() {
    goOn(delay);
  }

  private void goOn(Duration inTheGuest) {
    FutureTask<Void> due = timer;
    uptime = uptime.plus(inTheGuest);
    timer = null;
    due.run();
  }

  private void goOn(int times) {
    for (int i = 0; i < times; i++) {
      assertEquals(0, idle);
      assertEquals(STEP, delay);
      goOn();
    }
  }

  @Test
  void whoDoesNothingForTheTimeIsIdleOnce() {
    watch.start();
    goOn(8);
    assertEquals(1, idle);
    assertEquals(null, timer);
  }

  @Test
  void aHundredthOfAProcessorIsSomethingAndLessIsNot() {
    watch.start();
    goOn(7);
    cpu = cpu.plus(STEP.dividedBy(100));
    goOn(1);
    assertEquals(0, idle);
    for (int i = 0; i < 8; i++) {
      cpu = cpu.plus(STEP.dividedBy(101));
      goOn(1);
    }
    assertEquals(1, idle);
  }

  @Test
  void whoReadsOrWritesADiskIsNotIdle() {
    watch.start();
    for (int i = 0; i < 20; i++) {
      requests++;
      goOn(1);
    }
    goOn(7);
    assertEquals(0, idle);
    goOn();
    assertEquals(1, idle);
  }

  @Test
  void whoIsGivenSomethingToDoIsNotIdleHoweverLittleItIs() {
    watch.start();
    for (int i = 0; i < 20; i++) {
      watch.touch();
      goOn(1);
    }
    goOn(8);
    assertEquals(1, idle);
  }

  @Test
  void timeThatTheGuestStandsStillIsNotCounted() {
    watch.start();
    goOn(7);
    for (int i = 0; i < 100; i++) {
      goOn(Duration.ZERO);
    }
    assertEquals(0, idle);
    goOn();
    assertEquals(1, idle);
  }

  @Test
  void whatCannotBeReadIsTriedAgain() {
    watch.start();
    unreadable = true;
    goOn(100);
    unreadable = false;
    // The first that can be read again tells of all the time since the last one.
    goOn();
    assertEquals(1, idle);
  }

  @Test
  void whoseTimeIsNotCountedIsNeverIdle() {
    cpu = null;
    watch.start();
    goOn(100);
    assertEquals(0, idle);
  }

  @Test
  void aClockThatGoesBackIsNoIdleness() {
    watch.start();
    goOn(7);
    goOn(Duration.ofHours(-1));
    assertEquals(0, idle);
    goOn(8);
    assertEquals(1, idle);
  }

  @Test
  void stoppedWatchFindsNothing() {
    watch.start();
    FutureTask<Void> due = timer;
    watch.stop();
    assertTrue(due.isCancelled());
    watch.touch();
    assertEquals(0, idle);
  }
}
