// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * What a virtual machine holds, and who still uses it: its owner, who may give it up once, and its
 * threads. The last of them releases everything, the last acquired first, as the last thing it
 * does. So no thread meets a closed descriptor or memory that is not mapped any more, however long
 * it is stuck in a disk; and machines that end together are released by as many threads.
 *
 * <p>What takes long to close, and nobody misses, goes after all else: {@link #awaitGivenBack} does
 * not wait for it where few machines have such an end at that moment. Where more have, it does, so
 * that whoever makes machines and closes them is never far ahead of what is left of them.
 */
final class Teardown {
  private final String name;
  private final Semaphore unawaited;
  private final Runnable onReleased;
  private final Deque<AutoCloseable> resources = new ArrayDeque<>(); // guarded by itself
  private final Set<Thread> threads = ConcurrentHashMap.newKeySet();
  private final Queue<Thread> everyThread = new ConcurrentLinkedQueue<>();
  private final AtomicInteger users = new AtomicInteger(1); // the owner
  private final AtomicBoolean owned = new AtomicBoolean(true);
  private final AtomicBoolean reported = new AtomicBoolean();
  private final CountDownLatch givenBack = new CountDownLatch(1);
  private final CountDownLatch released = new CountDownLatch(1);

  /** Which of its threads closes the last of it while nobody waits; null while none does. */
  private volatile @Nullable Thread unawaitedThread;

  /**
   * @param name of the machine, for messages
   * @param unawaited a permit for each machine whose last part nobody need wait for; shared
   * @param onReleased called once, when everything is released
   */
  Teardown(String name, Semaphore unawaited, Runnable onReleased) {
    this.name = name;
    this.unawaited = unawaited;
    this.onReleased = onReleased;
  }

  /** Takes over what is to be closed. */
  <T extends AutoCloseable> T acquire(T resource) {
    synchronized (resources) {
      resources.push(resource);
    }
    return resource;
  }

  /**
   * What was taken over until now takes long to close, and nobody misses what is left of it when
   * this has given back what it uses. What is taken over from now on is closed before that.
   *
   * @param giveBack false when it could not, and all is to be waited for
   */
  void nobodyMisses(BooleanSupplier giveBack) {
    acquire(
        () -> {
          Thread releasing = Thread.currentThread();
          // Another thread, such as one that used it for a moment, would wait for it anyway.
          if (giveBack.getAsBoolean()
              && everyThread.contains(releasing)
              && unawaited.tryAcquire()) {
            unawaitedThread = releasing;
            givenBack.countDown();
          }
        });
  }

  /** A thread that uses it is about to be started, and will say when it has {@link #ended}. */
  void uses(Thread thread) {
    users.incrementAndGet();
    threads.add(thread);
    everyThread.add(thread);
  }

  /** Whether a thread uses it, or did. */
  boolean had(Thread thread) {
    return everyThread.contains(thread);
  }

  /**
   * Does something with what it holds, which stays for so long.
   *
   * @return false when it is released, and nothing was done
   */
  boolean use(Runnable action) {
    if (users.getAndUpdate(count -> count == 0 ? 0 : count + 1) == 0) {
      return false;
    }
    try {
      action.run();
      return true;
    } finally {
      drop();
    }
  }

  /** The thread, which may be the caller, touches nothing of it any more, or was not started. */
  void ended(Thread thread) {
    if (threads.remove(thread)) {
      drop();
    }
  }

  /** The owner wants it no more. Does nothing the second time. */
  void disown() {
    if (owned.compareAndSet(true, false)) {
      drop();
    }
  }

  private void drop() {
    if (users.decrementAndGet() == 0) {
      release();
    }
  }

  private void release() {
    Throwable failure = null;
    synchronized (resources) {
      while (!resources.isEmpty()) {
        try {
          resources.pop().close();
        } catch (Throwable e) {
          if (failure == null) {
            failure = e;
          } else {
            failure.addSuppressed(e);
          }
        }
      }
    }
    try {
      joinOthers(Thread.currentThread());
      onReleased.run();
    } finally {
      if (unawaitedThread != null) {
        unawaited.release();
      }
      givenBack.countDown();
      released.countDown();
    }
    if (failure != null) {
      logger().log(Level.WARNING, "not all of " + name + " could be released", failure);
    }
  }

  /**
   * Waits until all is given back but what nobody misses, or until the time is over; then says
   * once, in the log, which threads have not ended. Interrupts are kept for later.
   *
   * @param deadline of {@link System#nanoTime}
   * @param patience how long that was, for the message
   * @return false when the time was over
   */
  boolean awaitGivenBack(long deadline, Duration patience) {
    boolean done = await(givenBack, deadline, patience);
    if (done) {
      joinOthers(unawaitedThread);
    }
    return done;
  }

  /** Waits likewise until everything is released. */
  boolean awaitReleased(long deadline, Duration patience) {
    boolean done = await(released, deadline, patience);
    if (done) {
      joinOthers(null);
    }
    return done;
  }

  private boolean await(CountDownLatch latch, long deadline, Duration patience) {
    boolean interrupted = false;
    boolean done;
    while (true) {
      try {
        done = latch.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (!done) {
      report(patience);
    }
    return done;
  }

  /** Waits for the ends of all threads but one, which have nothing more to do. */
  private void joinOthers(@Nullable Thread one) {
    for (Thread thread : everyThread) {
      if (!thread.equals(one)) {
        join(thread);
      }
    }
  }

  /** Waits for the end of a thread that has nothing more to do. Interrupts are kept for later. */
  static void join(Thread thread) {
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void report(Duration patience) {
    List<String> names = threads.stream().map(Thread::getName).sorted().toList();
    if (!names.isEmpty() && reported.compareAndSet(false, true)) {
      logger()
          .log(
              Level.WARNING,
              "{0} has not ended in {1} ms: {2} stuck, in a disk that does not answer or in a"
                  + " callback. What it uses, the guest''s memory among it, is released when that"
                  + " ends.",
              name,
              patience.toMillis(),
              names);
    }
  }

  private static System.Logger logger() {
    return System.getLogger(Teardown.class.getName());
  }
}
