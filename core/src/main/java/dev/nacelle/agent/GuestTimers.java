// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.spi.MachineClock;
import io.netty.channel.EventLoop;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Times what a guest owes: while its machine is paused, no such time goes by. Safe for use from
 * several threads.
 */
public final class GuestTimers {
  private final EventLoop loop;
  private final MachineClock clock = new MachineClock();

  /** Those whose time on the host came in the pause. Guarded by this. */
  private final List<Timer> held = new ArrayList<>();

  /**
   * @param loop calls what is due
   */
  GuestTimers(EventLoop loop) {
    this.loop = loop;
  }

  /** As {@link System#nanoTime}, without the time in which the machine was paused. */
  public long nanoTime() {
    return clock.nanoTime();
  }

  /**
   * Runs something on the event loop when the guest has had that much time, unless it is cancelled;
   * never when the loop has ended. It must not block.
   */
  public Future<?> schedule(Runnable task, Duration delay) {
    Timer timer = new Timer(task, delay);
    timer.arm();
    return timer;
  }

  /** Time stands still. */
  public void pause() {
    clock.pause();
  }

  /** Time goes on. */
  public void resume() {
    List<Timer> waiting;
    synchronized (this) {
      clock.resume();
      waiting = List.copyOf(held);
      held.clear();
    }
    waiting.forEach(Timer::arm);
  }

  private synchronized boolean hold(Timer timer) {
    return clock.isPaused() && held.add(timer);
  }

  private final class Timer extends FutureTask<@Nullable Void> {
    private final long start = nanoTime();
    private final long delay;
    private volatile @Nullable Future<?> onHost;

    Timer(Runnable task, Duration delay) {
      super(task, null);
      this.delay = TimeUnit.NANOSECONDS.convert(delay); // as much as fits
    }

    private long rest() {
      return delay - (nanoTime() - start);
    }

    /** After the rest of its time on the host it looks whether the guest has had it. */
    void arm() {
      try {
        onHost = loop.schedule(this::look, Math.max(rest(), 0), TimeUnit.NANOSECONDS);
      } catch (RejectedExecutionException e) {
        // The loop has ended, and with it what was waited for.
      }
      if (isDone()) {
        done(); // cancelled before there was anything to cancel
      }
    }

    private void look() {
      if (isDone() || hold(this)) {
        return;
      }
      if (rest() > 0) {
        arm();
      } else {
        run();
      }
    }

    @Override
    protected void done() {
      Future<?> running = onHost;
      try {
        if (running != null) {
          running.cancel(false);
        }
      } catch (RejectedExecutionException e) {
        // It is cancelled; the loop has ended, and need not forget it.
      }
    }
  }
}
