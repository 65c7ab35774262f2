// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** In which order what a machine holds is released, and who waits for which of it. */
@Timeout(60)
class TeardownTest {
  private static final Duration LONG = Duration.ofMinutes(1);

  private final Semaphore unawaited = new Semaphore(1);
  private final BlockingQueue<String> seen = new LinkedBlockingQueue<>();
  private final LogRecords log = LogRecords.of(Teardown.class.getName());

  @AfterEach
  void stopListening() {
    log.close();
  }

  /** One whose last part is held up until somebody says so. */
  private final class HeldUp {
    final CountDownLatch goOn = new CountDownLatch(1);
    final Teardown teardown;

    /** Its own, which is the last that uses it. */
    final Thread thread;

    HeldUp(String name) {
      teardown = new Teardown(name, unawaited, () -> seen.add(name + " released"));
      thread = new Thread(() -> teardown.ended(Thread.currentThread()), name);
      teardown.acquire(() -> seen.add(name + " last of all"));
      teardown.acquire(
          () -> {
            seen.add(name + " last");
            goOn.await();
          });
      teardown.nobodyMisses(() -> seen.add(name + " given back"));
      teardown.acquire(() -> seen.add(name + " first"));
      teardown.acquire(() -> seen.add(name + " second"));
      teardown.uses(thread);
      teardown.disown();
    }
  }

  private static long in(Duration time) {
    return System.nanoTime() + time.toNanos();
  }

  private void assertSeen(String... events) throws InterruptedException {
    for (String event : events) {
      assertEquals(event, seen.poll(1, TimeUnit.MINUTES));
    }
  }

  @Test
  void givesAllBackBeforeItClosesTheLast() throws Exception {
    HeldUp machine = new HeldUp("a");
    assertFalse(machine.teardown.awaitGivenBack(System.nanoTime(), LONG));
    machine.thread.start();
    assertTrue(machine.teardown.awaitGivenBack(in(LONG), LONG));
    assertSeen("a second", "a first", "a given back", "a last");
    assertFalse(machine.teardown.awaitReleased(System.nanoTime(), LONG));
    assertTrue(machine.thread.isAlive());
    assertFalse(machine.teardown.use(() -> seen.add("used")));

    machine.goOn.countDown();
    assertTrue(machine.teardown.awaitReleased(in(LONG), LONG));
    assertFalse(machine.thread.isAlive());
    assertSeen("a last of all", "a released");
    assertEquals(List.of(), List.copyOf(seen));
  }

  @Test
  void keepsItsOwnerWaitingWhereEnoughOthersAreAtTheirLast() throws Exception {
    HeldUp one = new HeldUp("a");
    one.thread.start();
    assertTrue(one.teardown.awaitGivenBack(in(LONG), LONG));
    assertSeen("a second", "a first", "a given back", "a last");
    HeldUp other = new HeldUp("b");
    other.thread.start();
    assertSeen("b second", "b first", "b given back", "b last");
    // It has come to its last, and is held up there.
    assertFalse(other.teardown.awaitGivenBack(in(Duration.ofMillis(50)), LONG));
    other.goOn.countDown();
    assertTrue(other.teardown.awaitGivenBack(in(LONG), LONG));
    assertFalse(other.thread.isAlive());
    assertSeen("b last of all", "b released");

    one.goOn.countDown();
    assertTrue(one.teardown.awaitReleased(in(LONG), LONG));
    assertSeen("a last of all", "a released");
    // And its place is another's.
    HeldUp third = new HeldUp("c");
    third.thread.start();
    assertTrue(third.teardown.awaitGivenBack(in(LONG), LONG));
    third.goOn.countDown();
    assertTrue(third.teardown.awaitReleased(in(LONG), LONG));
  }

  @Test
  void keepsItsOwnerWaitingForWhatCouldNotBeGivenBack() throws Exception {
    CountDownLatch goOn = new CountDownLatch(1);
    Teardown teardown = new Teardown("x", unawaited, () -> {});
    teardown.acquire(goOn::await);
    teardown.nobodyMisses(() -> false);
    Thread thread = new Thread(() -> teardown.ended(Thread.currentThread()));
    teardown.uses(thread);
    teardown.disown();
    thread.start();
    assertFalse(teardown.awaitGivenBack(in(Duration.ofMillis(50)), LONG));
    goOn.countDown();
    assertTrue(teardown.awaitGivenBack(in(LONG), LONG));
    assertFalse(thread.isAlive());
    assertEquals(1, unawaited.availablePermits());
  }

  @Test
  void releasesAndSaysSoAlthoughPartsCannotBeClosed() throws Exception {
    Teardown teardown = new Teardown("machine x", unawaited, () -> seen.add("released"));
    teardown.acquire(
        () -> {
          throw new IllegalStateException("the last");
        });
    teardown.nobodyMisses(() -> true);
    teardown.acquire(() -> seen.add("closed"));
    teardown.acquire(
        () -> {
          throw new IllegalStateException("the first");
        });
    teardown.disown();
    teardown.disown();
    assertTrue(teardown.awaitReleased(in(LONG), LONG));
    assertSeen("closed", "released");
    assertEquals(List.of("not all of machine x could be released"), log.messages());
    assertEquals(1, unawaited.availablePermits());
  }
}
