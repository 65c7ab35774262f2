// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.agent.AgentException.Kind;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Future;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Watches that a guest is there: one that has sent nothing for a while is asked something, and
 * found silent when it does not answer. A call rather than HTTP/2's PING, for it proves that the
 * agent serves; and because gRPC's own keep-alive cannot rest while the guest's machine does.
 *
 * <p>The time in which the machine is paused does not count, and what was before it does: however
 * often it is paused, a guest that is silent is found. Safe for use from several threads.
 */
final class Liveness {
  private final GuestTimers timers;
  private final Duration silence;
  private final LongSupplier bytesRead;
  private final Supplier<CompletableFuture<?>> ask;
  private final Runnable onSilent;
  private volatile boolean silent;

  private boolean watching; // guarded by this
  private @Nullable Future<?> timer; // guarded by this

  /**
   * @param silence after which the guest is asked
   * @param bytesRead how many bytes have come from the guest so far
   * @param ask asks the guest; fails with {@link Kind#NO_ANSWER} when there is no answer
   * @param onSilent called once when there was none
   */
  Liveness(
      GuestTimers timers,
      Duration silence,
      LongSupplier bytesRead,
      Supplier<CompletableFuture<?>> ask,
      Runnable onSilent) {
    this.timers = timers;
    this.silence = silence;
    this.bytesRead = bytesRead;
    this.ask = ask;
    this.onSilent = onSilent;
  }

  /** Watches from now on. */
  synchronized void start() {
    if (!watching) {
      watching = true;
      schedule();
    }
  }

  /** Watches no more. */
  synchronized void stop() {
    watching = false;
    Future<?> running = timer;
    if (running != null) {
      running.cancel(false);
    }
  }

  /** Whether the guest was found silent. */
  boolean foundSilent() {
    return silent;
  }

  private synchronized void schedule() {
    if (watching) {
      long before = bytesRead.getAsLong();
      timer = timers.schedule(() -> look(before), silence);
    }
  }

  private void look(long before) {
    if (bytesRead.getAsLong() != before) {
      schedule();
      return;
    }
    var unused = ask.get().whenComplete((answer, failure) -> judge(failure));
  }

  private void judge(@Nullable Throwable failure) {
    Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
    if (!(cause instanceof AgentException e && e.kind() == Kind.NO_ANSWER)) {
      schedule();
      return;
    }
    synchronized (this) {
      if (!watching) {
        return;
      }
      watching = false;
      silent = true;
    }
    onSilent.run();
  }
}
