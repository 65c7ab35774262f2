// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.sys.EventFd;
import java.util.ArrayList;
import java.util.List;
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
}
