// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.internal.BlockInputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.net.http.HttpResponse.BodySubscriber;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow.Subscription;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The body of a response as a stream. Unlike the JDK's it notices when nothing arrives any more,
 * and when its reader is interrupted. Holds what one read of the connection gives, about 16 KiB.
 * Used by one thread.
 */
final class BodyStream extends BlockInputStream implements BodySubscriber<BodyStream> {
  /** What the connection said: buffers, an exception, or that it is over. */
  private sealed interface Event {}

  private record Data(List<ByteBuffer> buffers) implements Event {}

  private record Failed(Throwable cause) implements Event {}

  private record End() implements Event {}

  private final Duration stallTimeout;
  private final Deadline deadline;

  /** At most one of data, because only one is asked for. */
  private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();

  private final Queue<ByteBuffer> buffers = new ArrayDeque<>();
  private boolean ended;
  private @Nullable Subscription subscription; // guarded by events
  private boolean closed; // guarded by events

  BodyStream(Duration stallTimeout, Deadline deadline) {
    this.stallTimeout = stallTimeout;
    this.deadline = deadline;
  }

  @Override
  public CompletionStage<BodyStream> getBody() {
    return CompletableFuture.completedStage(this);
  }

  @Override
  public void onSubscribe(Subscription subscription) {
    boolean unwanted;
    synchronized (events) {
      this.subscription = subscription;
      unwanted = closed;
    }
    if (unwanted) {
      subscription.cancel();
    } else {
      subscription.request(1);
    }
  }

  @Override
  public void onNext(List<ByteBuffer> item) {
    events.add(new Data(item));
  }

  @Override
  public void onError(Throwable cause) {
    events.add(new Failed(cause));
  }

  @Override
  public void onComplete() {
    events.add(new End());
  }

  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    while (!hasBuffer()) {
      if (ended) {
        return -1;
      }
      Event event = next();
      if (event instanceof Data data) {
        buffers.addAll(data.buffers);
        request();
      } else if (event instanceof Failed failed) {
        throw new TransientException("the connection broke: " + failed.cause, failed.cause);
      } else {
        ended = true;
      }
    }
    ByteBuffer buffer = buffers.element();
    int count = Math.min(length, buffer.remaining());
    buffer.get(bytes, offset, count);
    return count;
  }

  private boolean hasBuffer() {
    while (!buffers.isEmpty() && !buffers.element().hasRemaining()) {
      buffers.remove();
    }
    return !buffers.isEmpty();
  }

  private Event next() throws IOException {
    Duration patience = deadline.atMost(stallTimeout);
    try {
      Event event = events.poll(patience.toMillis(), TimeUnit.MILLISECONDS);
      if (event == null) {
        deadline.check();
        throw new TransientException("nothing arrived for " + stallTimeout, null);
      }
      return event;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while downloading");
    }
  }

  private void request() {
    Subscription current;
    synchronized (events) {
      current = subscription;
    }
    if (current != null) {
      current.request(1);
    }
  }

  /** Gives up what did not arrive yet, and with it the connection. */
  @Override
  public void close() {
    Subscription current;
    synchronized (events) {
      closed = true;
      current = subscription;
    }
    if (current != null && !ended) {
      current.cancel();
    }
  }
}
