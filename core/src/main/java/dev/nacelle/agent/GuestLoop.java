// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.internal.LibraryThread;
import io.netty.channel.DefaultEventLoop;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * An event loop that does what comes after its end all the same, one thing after another, on a
 * thread that lives for as long as that takes. A call may be on its way into gRPC while its loop
 * ends. Were what it then asks of the loop rejected, as Netty does, its caller would see that in
 * the place of the call's end, and its message's buffer would be lost.
 *
 * <p>What is to be done later than its end is rejected; so may be the cancelling of that.
 */
final class GuestLoop extends DefaultEventLoop {
  private final Queue<Runnable> late = new ConcurrentLinkedQueue<>();
  private final AtomicBoolean catchingUp = new AtomicBoolean();

  /** Others that give it something just now. */
  private final AtomicInteger givers = new AtomicInteger();

  private volatile boolean ended;

  /** The one that does what came late, while it does. */
  private volatile @Nullable Thread substitute;

  GuestLoop(ThreadFactory threads) {
    super(threads);
  }

  /** As Netty's, but for what fails: that is logged, and ends nothing else. */
  @Override
  protected void run() {
    do {
      Runnable task = takeTask();
      if (task != null) {
        safeExecute(task);
        updateLastExecutionTime();
      }
    } while (!confirmShutdown());
  }

  @Override
  public void execute(Runnable task) {
    if (isTaken(task)) {
      return;
    }
    if (task instanceof ScheduledFuture) {
      throw new RejectedExecutionException("the event loop has ended");
    }
    late.add(task);
    // Before, it is left to awaitEnd().
    if (isTerminated() && catchingUp.compareAndSet(false, true)) {
      startCatchingUp();
    }
  }

  /** The same, as this loop needs no waking. */
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

  /**
   * Not on the caller's thread, if there is another: that may have locks, which a call's listener
   * might want.
   */
  private Thread startCatchingUp() {
    return LibraryThread.startOrRun(this::catchUp, "nacelle-io-late");
  }

  private void catchUp() {
    do {
      substitute = Thread.currentThread();
      try {
        for (Runnable task = late.poll(); task != null; task = late.poll()) {
          safeExecute(task);
        }
      } finally {
        substitute = null;
        catchingUp.set(false);
      }
    } while (!late.isEmpty() && catchingUp.compareAndSet(false, true));
  }

  @Override
  public boolean inEventLoop(Thread thread) {
    return super.inEventLoop(thread) || thread.equals(substitute);
  }

  /** Ends its thread, after what it was given before. Does not wait. */
  @SuppressWarnings("ThreadPriorityCheck") // yield: a giver may want this very processor
  void end() {
    ended = true;
    // Netty may lose what comes just when its thread has done all that there was, and ends.
    while (givers.get() > 0) {
      Thread.yield();
    }
    try {
      var unused = shutdownGracefully(0, 5, TimeUnit.SECONDS);
    } catch (OutOfMemoryError e) {
      // Of one that never ran: Netty ends that, too, by a thread. It has ended all the same.
    }
  }

  /** Waits until everything that came before is done, also where the caller is interrupted. */
  void awaitEnd() {
    Uninterruptibles.awaitTerminationUninterruptibly(this);
    if (!late.isEmpty() && catchingUp.compareAndSet(false, true)) {
      Uninterruptibles.joinUninterruptibly(startCatchingUp());
    }
  }
}
