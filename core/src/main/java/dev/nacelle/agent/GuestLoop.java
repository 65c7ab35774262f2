// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.netty.channel.DefaultEventLoop;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * An event loop that rejects nothing: what comes after its end is done all the same, one thing
 * after another, by a thread that ends with it. A call may be on its way into gRPC while its loop
 * ends. Were what it then asks of the loop rejected, as Netty does, its caller would see that in
 * the place of the call's end, and its message's buffer would be lost.
 *
 * <p>What was scheduled for later than its end is not done.
 */
final class GuestLoop extends DefaultEventLoop {
  private final ThreadFactory threads;
  private final Queue<Runnable> late = new ConcurrentLinkedQueue<>();
  private final AtomicBoolean catchingUp = new AtomicBoolean();

  /** Others that give it something just now. */
  private final AtomicInteger givers = new AtomicInteger();

  private volatile boolean ended;

  /** The one that does what came late, while it does. */
  private volatile @Nullable Thread substitute;

  GuestLoop(ThreadFactory threads) {
    super(threads);
    this.threads = threads;
  }

  @Override
  public void execute(Runnable task) {
    if (!isTaken(task)) {
      late.add(task);
      // Before, it is left to awaitEnd().
      if (isTerminated() && catchingUp.compareAndSet(false, true)) {
        startCatchingUp();
      }
    }
  }

  /** The same, as this loop needs no waking: what is scheduled, and cancelled, comes so. */
  @Override
  public void lazyExecute(Runnable task) {
    execute(task);
  }

  private boolean isTaken(Runnable task) {
    boolean other = !inEventLoop();
    if (other) {
      givers.incrementAndGet();
    }
    try {
      if (other && ended) {
        return false;
      }
      super.execute(task);
      return true;
    } catch (RejectedExecutionException e) {
      return false;
    } finally {
      if (other) {
        givers.decrementAndGet();
      }
    }
  }

  /** Not on the caller's thread: that may have locks, which a call's listener might want. */
  private void startCatchingUp() {
    boolean started = false;
    try {
      threads.newThread(this::catchUp).start();
      started = true;
    } finally {
      if (!started) {
        catchingUp.set(false);
      }
    }
  }

  private void catchUp() {
    do {
      substitute = Thread.currentThread();
      for (Runnable task = late.poll(); task != null; task = late.poll()) {
        safeExecute(task);
      }
      substitute = null;
      catchingUp.set(false);
    } while (!late.isEmpty() && catchingUp.compareAndSet(false, true));
  }

  @Override
  public boolean inEventLoop(Thread thread) {
    return super.inEventLoop(thread) || thread.equals(substitute);
  }

  /** Ends its thread, after what it was given before. Does not wait. */
  void end() {
    ended = true;
    // Netty may lose what comes just when its thread has done all that there was, and ends.
    while (givers.get() > 0) {
      Thread.onSpinWait();
    }
    var unused = shutdownGracefully(0, 5, TimeUnit.SECONDS);
  }

  /** Waits for the end of its thread, also where the caller is interrupted, which it stays. */
  void awaitEnd() {
    boolean interrupted = false;
    while (!isTerminated()) {
      try {
        awaitTermination(1, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (catchingUp.compareAndSet(false, true)) {
      catchUp();
    }
  }
}
