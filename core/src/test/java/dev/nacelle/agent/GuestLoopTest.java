// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
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
  void whatCameBeforeTheEndIsDoneByItsOwnThread() throws Exception {
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
    assertEquals(threads, List.of(by.join()));
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
    assertEquals(substitute, threads.get(1));
    substitute.join();
    assertEquals(2, threads.size());
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
    end();
    Logger netty = Logger.getLogger("io.netty.util.concurrent.AbstractEventExecutor");
    netty.setLevel(Level.OFF);
    try {
      CompletableFuture<Void> ran = new CompletableFuture<>();
      loop.execute(
          () -> {
            throw new IllegalStateException("as the test has it");
          });
      loop.execute(() -> ran.complete(null));
      ran.get();
    } finally {
      netty.setLevel(null);
    }
  }

  /** However its end and what comes meet, each thing is done once, and one at a time. */
  @Test
  void nothingIsLostInARaceWithTheEnd() throws Exception {
    for (int round = 0; round < 200; round++) {
      GuestLoop one = new GuestLoop(task -> new Thread(task, "loop"));
      AtomicInteger under = new AtomicInteger();
      AtomicInteger overlaps = new AtomicInteger();
      CountDownLatch done = new CountDownLatch(4 * 50);
      CountDownLatch ready = new CountDownLatch(4);
      List<Thread> givers = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        Thread giver =
            new Thread(
                () -> {
                  ready.countDown();
                  for (int k = 0; k < 50; k++) {
                    one.execute(
                        () -> {
                          overlaps.addAndGet(under.getAndIncrement());
                          under.decrementAndGet();
                          done.countDown();
                        });
                  }
                });
        givers.add(giver);
        giver.start();
      }
      ready.await();
      one.end();
      one.awaitEnd();
      for (Thread giver : givers) {
        giver.join();
      }
      assertTrue(done.await(10, TimeUnit.SECONDS), () -> done.getCount() + " were lost");
      assertEquals(0, overlaps.get());
    }
  }
}
