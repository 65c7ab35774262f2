// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.agent.AgentException.Kind;
import io.netty.channel.EventLoop;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Watches that a guest is there: one that has sent nothing for a while is asked something, and
 * found silent when it does not answer. A call rather than HTTP/2's PING, for it proves that the
 * agent serves; and because gRPC's own keep-alive cannot rest while the guest's machine does.
 *
 * <p>Safe for use from several threads; everything else happens on the event loop.
 */
final class Liveness {
  private final EventLoop loop;
  private final Duration silence;
  private final LongSupplier bytesRead;
  private final Supplier<CompletableFuture<?>> ask;
  private final Runnable onSilent;
  private volatile boolean silent;

  /** Confined to the loop. What was begun under another number is of no concern any more. */
  private int watch;

  private boolean watching;
  private @Nullable Future<?> timer;

  /**
   * @param silence after which the guest is asked
   * @param bytesRead how many bytes have come from the guest so far
   * @param ask asks the guest; fails with {@link Kind#TIMED_OUT} when there is no answer
   * @param onSilent called once when there was none
   */
  Liveness(
      EventLoop loop,
      Duration silence,
      LongSupplier bytesRead,
      Supplier<CompletableFuture<?>> ask,
      Runnable onSilent) {
    this.loop = loop;
    this.silence = silence;
    this.bytesRead = bytesRead;
    this.ask = ask;
    this.onSilent = onSilent;
  }

  /** Watches from now on. */
  void resume() {
    onLoop(
        () -> {
          if (!watching) {
            watching = true;
            schedule();
          }
        });
  }

  /** Rests: whatever the guest owes, it has the whole time for it again after {@link #resume}. */
  void pause() {
    onLoop(
        () -> {
          watching = false;
          watch++;
          Future<?> running = timer;
          if (running != null) {
            running.cancel(false);
          }
        });
  }

  /** Whether the guest was found silent. */
  boolean foundSilent() {
    return silent;
  }

  private void onLoop(Runnable task) {
    try {
      loop.execute(task);
    } catch (RejectedExecutionException e) {
      // The loop has ended, and there is nothing to watch.
    }
  }

  private void schedule() {
    long before = bytesRead.getAsLong();
    timer = loop.schedule(() -> look(before), silence.toNanos(), TimeUnit.NANOSECONDS);
  }

  private void look(long before) {
    if (bytesRead.getAsLong() != before) {
      schedule();
      return;
    }
    int asked = watch;
    var unused = ask.get().whenComplete((answer, failure) -> onLoop(() -> judge(asked, failure)));
  }

  private void judge(int asked, @Nullable Throwable failure) {
    if (!watching || asked != watch) {
      return;
    }
    Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
    if (cause instanceof AgentException e && e.kind() == Kind.TIMED_OUT) {
      watching = false;
      silent = true;
      onSilent.run();
    } else {
      schedule();
    }
  }
}
