// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.internal.LibraryThread;
import java.time.Duration;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;

/**
 * Threads for what blocks: resolving images, starting and stopping machines, and what users attach
 * to futures. As many as are needed; idle ones end after ten seconds.
 *
 * <p>A host may give no more threads, for which the JVM has an OutOfMemoryError. {@link #execute}
 * and {@link #submit} then throw it, and the task is not run.
 */
final class Workers implements Executor, AutoCloseable {
  /** After that long it is tried again to have a thread. */
  private static final Duration RETRY = Duration.ofMillis(100);

  private final Timers timers;
  private final ThreadPoolExecutor pool;

  private static final class Worker extends LibraryThread {
    private final Workers owner;

    Worker(Workers owner, Runnable task, String name) {
      super(task, name);
      this.owner = owner;
    }
  }

  Workers(Timers timers) {
    this(timers, thread -> thread);
  }

  /**
   * @param timers time the next attempt to have a thread
   * @param threads gets each thread before it is started, and may throw
   */
  Workers(Timers timers, UnaryOperator<Thread> threads) {
    this.timers = timers;
    AtomicInteger number = new AtomicInteger();
    pool =
        new ThreadPoolExecutor(
            0,
            Integer.MAX_VALUE,
            10,
            TimeUnit.SECONDS,
            new SynchronousQueue<>(),
            task ->
                threads.apply(new Worker(this, task, "nacelle-worker-" + number.incrementAndGet())),
            (task, ended) -> runLate(task));
  }

  @Override
  public void execute(Runnable task) {
    pool.execute(task);
  }

  /**
   * After the end: users' late questions, which their threads can answer themselves, and what late
   * calls have come to, which may block, and must not where others are waited for.
   */
  private void runLate(Runnable task) {
    if (Thread.currentThread() instanceof LibraryThread && !isCurrent()) {
      LibraryThread.startOrRun(task, "nacelle-worker-late");
    } else {
      task.run();
    }
  }

  /** Runs a task that must not be lost: when the host gives a thread for it. */
  void executePatiently(Runnable task) {
    try {
      pool.execute(task);
    } catch (OutOfMemoryError e) {
      var unused = timers.schedule(() -> executePatiently(task), RETRY);
    }
  }

  /** Runs a task, on the caller's thread where the host gives no other. */
  void executeOrRun(Runnable task) {
    try {
      pool.execute(task);
    } catch (OutOfMemoryError e) {
      task.run();
    }
  }

  Future<?> submit(Runnable task) {
    return pool.submit(task);
  }

  /** Whether the caller is one of these threads. */
  boolean isCurrent() {
    return Thread.currentThread() instanceof Worker worker && worker.owner == this;
  }

  /** Lets what runs come to its end, and waits for it unless it is called from there. */
  @Override
  public void close() {
    pool.shutdown();
    if (!isCurrent()) {
      Uninterruptibles.awaitTerminationUninterruptibly(pool);
    }
  }
}
