// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What a guest is given time for. While its machine stands still no time passes for it. On the
 * loop.
 */
final class GuestDeadlines {
  private final NetworkLoop loop;
  private final Set<Deadline> pending = new HashSet<>();
  private boolean paused;

  GuestDeadlines(NetworkLoop loop) {
    this.loop = loop;
  }

  /** Something that is done in time or not. */
  final class Deadline {
    private final Runnable missed;
    private Duration left;
    private long since = System.nanoTime();
    private NetworkLoop.@Nullable Timer timer;

    private Deadline(Runnable missed, Duration left) {
      this.missed = missed;
      this.left = left;
    }

    private void start() {
      since = System.nanoTime();
      timer = loop.schedule(this::miss, left);
    }

    private void stop() {
      if (timer != null) {
        timer.cancel();
        timer = null;
        left = left.minusNanos(System.nanoTime() - since);
      }
    }

    private void miss() {
      pending.remove(this);
      missed.run();
    }

    /** It was done; of no effect later. */
    void cancel() {
      pending.remove(this);
      stop();
    }
  }

  /**
   * Expects something.
   *
   * @param missed is run when it was not done in time
   */
  Deadline expect(Runnable missed, Duration time) {
    Deadline deadline = new Deadline(missed, time);
    pending.add(deadline);
    if (!paused) {
      deadline.start();
    }
    return deadline;
  }

  /** The machine stands still, or goes on. */
  void setPaused(boolean stands) {
    if (paused != stands) {
      paused = stands;
      pending.forEach(stands ? Deadline::stop : Deadline::start);
    }
  }

  /** Nothing is expected any more. */
  void close() {
    pending.forEach(Deadline::stop);
    pending.clear();
  }
}
