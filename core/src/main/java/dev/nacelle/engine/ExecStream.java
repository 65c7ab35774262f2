// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestIOException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.OutputConsumer;
import dev.nacelle.ProcessSpec;
import dev.nacelle.StandardStream;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.ProcessRequest;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** A process whose outputs go to a consumer, on the thread that waits for its end. */
final class ExecStream extends ExecCall {
  /** As {@link OutputPipe}: about what a chunk takes beside its bytes. */
  private static final int CHUNK_OVERHEAD = 128;

  private final Deque<ByteBuffer> chunks = new ArrayDeque<>();

  /** What each of the chunks was written to. */
  private final Deque<StandardStream> streams = new ArrayDeque<>();

  private long buffered;
  private boolean ended;

  ExecStream(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      @Nullable Duration deadline) {
    super(calls, client, spec, request, streamLimit(spec), deadline);
  }

  @Override
  void take(boolean error, ByteBuffer bytes) {
    chunks.add(bytes);
    streams.add(error ? StandardStream.STDERR : StandardStream.STDOUT);
    buffered += bytes.remaining() + CHUNK_OVERHEAD;
    notifyAll();
  }

  @Override
  boolean isFull() {
    return buffered >= OutputPipe.CAPACITY;
  }

  @Override
  synchronized void onEnd(@Nullable Supplier<GuestIOException> why) {
    ended = true;
    notifyAll();
  }

  /**
   * Hands the outputs to the consumer until there are no more.
   *
   * @throws InterruptedOperationException when the thread is interrupted
   */
  <X extends Exception> void drain(OutputConsumer<X> consumer) throws X {
    while (true) {
      ByteBuffer chunk;
      StandardStream stream;
      boolean hasRoom;
      synchronized (this) {
        awaitChunk();
        chunk = chunks.poll();
        stream = streams.poll();
        if (chunk == null || stream == null) {
          return;
        }
        buffered -= chunk.remaining() + CHUNK_OVERHEAD;
        hasRoom = buffered <= OutputPipe.CAPACITY / 2;
      }
      if (hasRoom) {
        goOn();
      }
      byte[] bytes = new byte[chunk.remaining()];
      chunk.get(bytes);
      consumer.accept(stream, bytes);
    }
  }

  private synchronized void awaitChunk() {
    while (chunks.isEmpty() && !ended) {
      try {
        wait();
      } catch (InterruptedException e) {
        throw GuestCalls.interrupted(e);
      }
    }
  }
}
