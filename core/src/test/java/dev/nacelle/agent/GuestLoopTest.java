// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class GuestLoopTest {
  private final List<Thread> threads = new CopyOnWriteArrayList<>();
  private final GuestLoop loop =
      new GuestLoop(
          task -> {
            Thread thread = new Thread(task, "loop");
            threads.add(thread);
            return thread;
          });

  private void end() {
    loop.end();
    loop.awaitEnd();
    assertTrue(loop.isTerminated());
  }

  @Test
  void whatItsOwnThreadBringsBeforeItEndsIsDoneByThat() throws Exception {
    CountDownLatch busy = new CountDownLatch(1);
    CompletableFuture<Thread> by = new CompletableFuture<>();
    loop.execute(
        () -> {
          try {
            busy.await();
          } catch (InterruptedException e) {
            by.completeExceptionally(e);
          }
          // Netty is about to end by now.
          loop.execute(() -> by.complete(Thread.currentThread()));
        });
    loop.end();
    busy.countDown();
    loop.awaitEnd();
    assertEquals(List.of(by.get()), threads);
  }

  @Test
  void whatComesAfterTheEndIsDoneInItsOrderByAnotherThreadThatEndsToo() throws Exception {
    loop.execute(() -> {});
    end();
    List<Integer> done = new ArrayList<>();
    CompletableFuture<Thread> by = new CompletableFuture<>();
    loop.execute(
        () -> {
          loop.execute(
              () -> {
                done.add(2);
                by.complete(loop.inEventLoop() ? Thread.currentThread() : null);
              });
          done.add(1);
        });
    Thread substitute = by.get();
    assertEquals(List.of(1, 2), done);
    assertNotEquals(Thread.currentThread(), substitute);
    substitute.join();
    assertEquals(1, threads.size());
  }

  @Test
  void oneThatNeverRanDoesItToo() throws Exception {
    end();
    CompletableFuture<Boolean> ran = new CompletableFuture<>();
    loop.execute(() -> ran.complete(loop.inEventLoop()));
    assertTrue(ran.get());
  }

  @Test
  void whatFailsKeepsNothingElseFromBeingDone() throws Exception {
    Logger netty = Logger.getLogger("io.netty.util.concurrent.AbstractEventExecutor");
    netty.setLevel(Level.OFF);
    try {
      assertEquals(threads, List.of(byAfterAFailure()));
      end();
      assertNotEquals(threads, List.of(byAfterAFailure()));
    } finally {
      netty.setLevel(null);
    }
  }

  private Thread byAfterAFailure() throws Exception {
    loop.execute(
        () -> {
          throw new IllegalStateException("as the test has it");
        });
    CompletableFuture<Thread> by = new CompletableFuture<>();
    loop.execute(() -> by.complete(Thread.currentThread()));
    return by.get();
  }

  @Test
  void whatIsScheduledAfterTheEndIsRejected() {
    end();
    assertThrows(
        RejectedExecutionException.class, () -> loop.schedule(() -> {}, 0, TimeUnit.SECONDS));
  }

  /** However its end and what comes meet, each thing is done once, and one at a time. */
  @Test
  void nothingIsLostInARaceWithTheEnd() throws Exception {
    Random random = new Random();
    for (int round = 0; round < 200; round++) {
      GuestLoop one = new GuestLoop(task -> new Thread(task, "loop"));
      AtomicInteger under = new AtomicInteger();
      AtomicInteger overlaps = new AtomicInteger();
      AtomicIntegerArray times = new AtomicIntegerArray(4 * 50);
      CountDownLatch done = new CountDownLatch(4 * 50);
      CountDownLatch ready = new CountDownLatch(4);
      List<Thread> givers = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        int first = i * 50;
        Thread giver =
            new Thread(
                () -> {
                  ready.countDown();
                  for (int k = 0; k < 50; k++) {
                    int number = first + k;
                    one.execute(
                        () -> {
                          overlaps.addAndGet(under.getAndIncrement());
                          times.incrementAndGet(number);
                          under.decrementAndGet();
                          done.countDown();
                        });
                  }
                });
        givers.add(giver);
        giver.start();
      }
      ready.await();
      LockSupport.parkNanos(random.nextInt(200_000));
      one.end();
      one.awaitEnd();
      for (Thread giver : givers) {
        giver.join();
      }
      assertTrue(done.await(10, TimeUnit.SECONDS), () -> done.getCount() + " were lost");
      assertEquals(0, overlaps.get());
      for (int i = 0; i < times.length(); i++) {
        assertEquals(1, times.get(i), "times");
      }
    }
  }
}
