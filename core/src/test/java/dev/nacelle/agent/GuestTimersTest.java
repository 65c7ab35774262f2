// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.util.concurrent.Uninterruptibles;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class GuestTimersTest {
  private final GuestLoop loop = new GuestLoop(Thread::new);
  private final GuestTimers timers = new GuestTimers(loop);
  private final BlockingQueue<String> called = new LinkedBlockingQueue<>();

  @AfterEach
  void endLoop() {
    loop.end();
    loop.awaitEnd();
  }

  /** Keeps the loop from everything until the latch is counted down. */
  private CountDownLatch hold() {
    CountDownLatch busy = new CountDownLatch(1);
    loop.execute(() -> Uninterruptibles.awaitUninterruptibly(busy));
    return busy;
  }

  private Future<?> schedule(String what, Duration delay) {
    return timers.schedule(() -> called.add(what + loop.inEventLoop()), delay);
  }

  @Test
  void callsOnTheLoopWhenTheTimeHasCome() throws Exception {
    long start = System.nanoTime();
    schedule("later ", Duration.ofSeconds(1));
    schedule("now ", Duration.ZERO);
    schedule("never ", Duration.ofSeconds(Long.MAX_VALUE));
    assertEquals("now true", called.take());
    assertEquals("later true", called.take());
    assertTrue(System.nanoTime() - start >= 1_000_000_000);
  }

  @Test
  void whatIsCancelledIsNotCalled() throws Exception {
    CountDownLatch busy = hold();
    assertTrue(schedule("cancelled", Duration.ofMillis(20)).cancel(false));
    timers.pause();
    busy.countDown();
    Future<?> inAPause = schedule("cancelled", Duration.ZERO);
    Thread.sleep(20);
    assertTrue(inAPause.cancel(false));
    timers.resume();
    schedule("other ", Duration.ofMillis(60));
    assertEquals("other true", called.take());
    assertTrue(called.isEmpty());
  }

  @Test
  void noTimeGoesByInAPause() throws Exception {
    CountDownLatch busy = hold();
    schedule("before ", Duration.ofSeconds(1));
    timers.pause();
    busy.countDown();
    long stood = timers.nanoTime();
    schedule("in ", Duration.ofSeconds(1));
    schedule("at once ", Duration.ZERO);
    Thread.sleep(1200);
    assertTrue(called.isEmpty());
    assertEquals(stood, timers.nanoTime());
    long start = System.nanoTime();
    timers.resume();
    assertEquals("at once true", called.take());
    called.take();
    called.take();
    assertTrue(System.nanoTime() - start >= 1_000_000_000);
    assertTrue(timers.nanoTime() - stood >= 1_000_000_000);
  }

  @Test
  void pausesAddUp() throws Exception {
    long start = System.nanoTime();
    Future<?> timer = schedule("done ", Duration.ofSeconds(2));
    for (int i = 0; i < 10; i++) {
      timers.pause();
      Thread.sleep(20);
      assertFalse(timer.isDone());
      timers.resume();
    }
    assertEquals("done true", called.take());
    assertTrue(System.nanoTime() - start >= 2_200_000_000L);
  }

  @Test
  void aLoopThatHasEndedCallsNothing() throws Exception {
    endLoop();
    Future<?> timer = schedule("too late", Duration.ZERO);
    assertFalse(timer.isDone());
    assertTrue(timer.cancel(false));
    assertTrue(called.isEmpty());
  }
}
