// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.Allocation;
import dev.nacelle.kvm.sys.EventFd;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class EventLoopTest {
  private final BlockingQueue<Throwable> failures = new LinkedBlockingQueue<>();
  private final EventLoop loop = new EventLoop("test-loop", failures::add);

  @AfterEach
  void close() {
    loop.close();
  }

  @Test
  void callsTheHandlerOnTheLoopForEachSignal() throws Exception {
    BlockingQueue<Boolean> calls = new ArrayBlockingQueue<>(1);
    try (EventFd eventFd = new EventFd()) {
      loop.register(eventFd, () -> calls.add(loop.isCurrent()));
      for (int i = 0; i < 3; i++) {
        eventFd.signal();
        assertTrue(calls.take());
      }
      loop.close();
    }
  }

  @Test
  void seesASignalThatCameBeforeTheRegistration() throws Exception {
    CompletableFuture<Boolean> called = new CompletableFuture<>();
    try (EventFd eventFd = new EventFd()) {
      eventFd.signal();
      loop.register(eventFd, () -> called.complete(true));
      assertTrue(called.get());
      loop.close();
    }
  }

  @Test
  void runsTasksInTheirOrder() throws Exception {
    List<Integer> ran = new ArrayList<>();
    CompletableFuture<List<Integer>> all = new CompletableFuture<>();
    for (int i = 0; i < 1000; i++) {
      int number = i;
      assertTrue(loop.execute(() -> ran.add(number)));
    }
    loop.execute(() -> all.complete(List.copyOf(ran)));
    List<Integer> expected = new ArrayList<>();
    for (int i = 0; i < 1000; i++) {
      expected.add(i);
    }
    assertEquals(expected, all.get());
  }

  @Test
  void runsATaskThatATaskAdds() throws Exception {
    CompletableFuture<Boolean> inner = new CompletableFuture<>();
    loop.execute(() -> loop.execute(() -> inner.complete(true)));
    assertTrue(inner.get());
  }

  @Test
  void servesDoorbellsBesideATaskThatGivesItselfAgain() throws Exception {
    CompletableFuture<Boolean> served = new CompletableFuture<>();
    try (EventFd eventFd = new EventFd()) {
      loop.register(eventFd, () -> served.complete(true));
      loop.execute(
          new Runnable() {
            @Override
            public void run() {
              eventFd.signal();
              if (!served.isDone()) {
                loop.execute(this);
              }
            }
          });
      assertTrue(served.get());
      loop.close();
    }
  }

  @Test
  void callsATimerOnceItsTimeHasCome() throws Exception {
    BlockingQueue<Long> calls = new LinkedBlockingQueue<>();
    Timer timer = loop.timer(() -> calls.add(loop.isCurrent() ? loop.nanoTime() : 0));
    for (long delay : new long[] {-1_000_000_000L, 0, 1, 3_000_000}) {
      long time = loop.nanoTime() + delay;
      timer.set(time);
      assertTrue(calls.take() - time >= 0);
    }
    assertTrue(calls.isEmpty());
  }

  @Test
  void callsATimerOnlyForTheLastTimeThatWasSet() throws Exception {
    BlockingQueue<String> calls = new LinkedBlockingQueue<>();
    Timer first = loop.timer(() -> calls.add("first"));
    Timer second = loop.timer(() -> calls.add("second"));
    long never = loop.nanoTime() + Long.MAX_VALUE / 2;
    CompletableFuture<Boolean> set = new CompletableFuture<>();
    loop.execute(
        () -> {
          first.set(loop.nanoTime());
          second.set(loop.nanoTime());
          first.set(never);
          set.complete(true);
        });
    assertTrue(set.get());
    assertEquals("second", calls.take());
    second.set(loop.nanoTime());
    assertEquals("second", calls.take());
    loop.close();
    assertTrue(calls.isEmpty());
  }

  @Test
  void servesDoorbellsAndTasksBesideATimerThatSetsItselfAgain() throws Exception {
    CompletableFuture<Boolean> rung = new CompletableFuture<>();
    CompletableFuture<Boolean> ran = new CompletableFuture<>();
    Timer[] timer = new Timer[1];
    timer[0] =
        loop.timer(
            () -> {
              if (!rung.isDone() || !ran.isDone()) {
                timer[0].set(loop.nanoTime());
              }
            });
    try (EventFd eventFd = new EventFd()) {
      loop.register(eventFd, () -> rung.complete(true));
      timer[0].set(loop.nanoTime());
      eventFd.signal();
      loop.execute(() -> ran.complete(true));
      assertTrue(rung.get());
      assertTrue(ran.get());
      loop.close();
    }
  }

  @Test
  void callsTimersWithoutAllocating() throws Exception {
    int rounds = 40_000;
    CompletableFuture<Long> allocated = new CompletableFuture<>();
    Timer[] timer = new Timer[1];
    timer[0] =
        loop.timer(
            new Runnable() {
              private int round;
              private long before;

              @Override
              public void run() {
                round++;
                if (round == rounds / 2) {
                  before = Allocation.ofThisThread();
                }
                if (round == rounds) {
                  allocated.complete(Allocation.ofThisThread() - before);
                } else {
                  timer[0].set(loop.nanoTime());
                }
              }
            });
    timer[0].set(loop.nanoTime());
    // The smallest object has 16 bytes.
    assertTrue(allocated.get() < rounds / 2, () -> allocated.join() + " bytes allocated");
  }

  @Test
  void goesOnWhereTheReportOfAFailureFails() throws Exception {
    try (EventLoop unlucky =
        new EventLoop(
            "test-unlucky-loop",
            failure -> {
              throw new OutOfMemoryError("expected");
            })) {
      unlucky.execute(
          () -> {
            throw new RuntimeException("expected");
          });
      CompletableFuture<Boolean> next = new CompletableFuture<>();
      unlucky.execute(() -> next.complete(true));
      assertTrue(next.get());
    }
  }

  @Test
  void reportsWhatATaskThrowsAndGoesOn() throws Exception {
    RuntimeException thrown = new RuntimeException("expected");
    loop.execute(
        () -> {
          throw thrown;
        });
    assertSame(thrown, failures.take());
    CompletableFuture<Boolean> next = new CompletableFuture<>();
    loop.execute(() -> next.complete(true));
    assertTrue(next.get());
  }

  @Test
  void runsAcceptedTasksBeforeItEndsAndRefusesLaterOnes() {
    List<Integer> ran = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      int number = i;
      loop.execute(() -> ran.add(number));
    }
    loop.close();
    assertEquals(100, ran.size());
    assertFalse(loop.execute(() -> ran.add(100)));
    loop.close();
    assertEquals(100, ran.size());
  }

  @Test
  void refusesToWaitForItself() throws Exception {
    CompletableFuture<Throwable> outcome = new CompletableFuture<>();
    loop.execute(() -> outcome.complete(assertThrows(IllegalStateException.class, loop::close)));
    assertTrue(outcome.get().getMessage().contains("its own end"));
  }

  @Test
  void doesNothingWhileItIsPaused() throws Exception {
    BlockingQueue<String> done = new LinkedBlockingQueue<>();
    Timer timer = loop.timer(() -> done.add("timer"));
    try (EventFd eventFd = new EventFd()) {
      loop.register(eventFd, () -> done.add("handler"));
      loop.pause(() -> done.add("last" + loop.isCurrent()));
      assertTrue(loop.awaitRest(Long.MAX_VALUE));
      long time = loop.nanoTime();
      timer.set(time + 1);
      eventFd.signal();
      assertTrue(loop.execute(() -> done.add("task")));
      Thread.sleep(20);
      assertEquals(List.of("lasttrue"), List.copyOf(done));
      assertEquals(time, loop.nanoTime());

      loop.resume();
      assertEquals("lasttrue", done.take());
      assertEquals(
          Set.of("handler", "timer", "task"), Set.of(done.take(), done.take(), done.take()));
      // What stood still is not made up for.
      assertTrue(System.nanoTime() - loop.nanoTime() >= 20_000_000);
      loop.close();
    }
  }

  @Test
  void restsAnewForEachPause() throws Exception {
    BlockingQueue<Integer> paused = new LinkedBlockingQueue<>();
    for (int i = 0; i < 1000; i++) {
      int number = i;
      loop.pause(() -> paused.add(number));
      assertTrue(loop.awaitRest(Long.MAX_VALUE));
      assertEquals(i, paused.remove());
      loop.resume();
    }
  }

  @Test
  void endsWhilePaused() throws Exception {
    loop.pause(() -> {});
    assertTrue(loop.awaitRest(Long.MAX_VALUE));
    loop.close();
    assertFalse(loop.thread().isAlive());
  }

  @Test
  void goesOnWherePausingHasFailed() throws Exception {
    IllegalStateException failure = new IllegalStateException();
    loop.pause(
        () -> {
          throw failure;
        });
    assertTrue(loop.awaitRest(Long.MAX_VALUE));
    assertSame(failure, failures.take());
    loop.resume();
    CompletableFuture<Boolean> called = new CompletableFuture<>();
    loop.execute(() -> called.complete(true));
    assertTrue(called.get());
  }

  @Test
  void saysWhenItDoesNotRestInTime() throws Exception {
    CompletableFuture<Void> stuck = new CompletableFuture<>();
    CompletableFuture<Void> running = new CompletableFuture<>();
    loop.execute(
        () -> {
          running.complete(null);
          stuck.join();
        });
    running.get();
    loop.pause(() -> {});
    assertFalse(loop.awaitRest(System.nanoTime() + 10_000_000));
    stuck.complete(null);
    assertTrue(loop.awaitRest(Long.MAX_VALUE));
    loop.resume();
  }
}
