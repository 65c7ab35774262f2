// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.internal.LibraryThread;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Threads for what blocks: resolving images, starting and stopping machines, and what users attach
 * to futures. As many as are needed; idle ones end after ten seconds.
 */
final class Workers implements Executor, AutoCloseable {
  private final ThreadPoolExecutor pool;

  private static final class Worker extends LibraryThread {
    private final Workers owner;

    Worker(Workers owner, Runnable task, String name) {
      super(task, name);
      this.owner = owner;
    }
  }

  Workers() {
    AtomicInteger number = new AtomicInteger();
    pool =
        new ThreadPoolExecutor(
            0,
            Integer.MAX_VALUE,
            10,
            TimeUnit.SECONDS,
            new SynchronousQueue<>(),
            task -> new Worker(this, task, "nacelle-worker-" + number.incrementAndGet()),
            // After the end only users' late questions come here, which they can answer themselves.
            (task, ended) -> task.run());
  }

  @Override
  public void execute(Runnable task) {
    pool.execute(task);
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
