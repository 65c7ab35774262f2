// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import io.netty.channel.EventLoop;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A call that goes on: one value after the other, each when {@link #resume} has asked for it, until
 * it is closed or the connection ends. What a guest sends comes no quicker than 500 a second, and
 * 256 at once after a pause: what is beyond that waits in the guest. Safe for use from several
 * threads.
 */
public final class AgentStream implements AutoCloseable {
  private static final long NANOS_EACH = 2_000_000;
  private static final long BURST_NANOS = 256 * NANOS_EACH;

  private final ClientCall<?, ?> call;
  private final EventLoop loop;
  private final LongSupplier nanoTime;

  /** When the next value may be asked for; guarded by this. */
  private long next;

  private boolean closed; // guarded by this

  AgentStream(ClientCall<?, ?> call, EventLoop loop, LongSupplier nanoTime) {
    this.call = call;
    this.loop = loop;
    this.nanoTime = nanoTime;
    next = nanoTime.getAsLong() - BURST_NANOS;
  }

  /**
   * Begins the call, and asks for the first value.
   *
   * @param read makes a value of a message; null of one that means nothing here
   * @param listener called on the event loop with one value; must not block
   */
  static <Q, R, T> AgentStream start(
      ClientCall<Q, R> call,
      Q request,
      EventLoop loop,
      Function<R, @Nullable T> read,
      Consumer<T> listener) {
    AgentStream stream = new AgentStream(call, loop, System::nanoTime);
    call.start(
        new ClientCall.Listener<R>() {
          @Override
          public void onMessage(R message) {
            T value = read.apply(message);
            if (value == null) {
              stream.resume();
            } else {
              listener.accept(value);
            }
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            // What ends it otherwise ends its sandbox, or is its closing.
          }
        },
        new Metadata());
    call.sendMessage(request);
    call.halfClose();
    stream.resume();
    return stream;
  }

  /** Asks for the next value; once for each that came. */
  public void resume() {
    long delay;
    synchronized (this) {
      long now = nanoTime.getAsLong();
      next = Math.max(next - now, -BURST_NANOS) + now + NANOS_EACH;
      delay = next - now;
    }
    if (delay <= 0) {
      call.request(1);
      return;
    }
    try {
      var unused = loop.schedule(() -> call.request(1), delay, TimeUnit.NANOSECONDS);
    } catch (RejectedExecutionException e) {
      // The loop has ended, and the call with it.
    }
  }

  /** Ends the call; a value may be with its listener yet. Idempotent, does not wait. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      call.cancel("the host has enough", null);
    }
  }
}
