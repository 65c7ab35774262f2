// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.common.util.concurrent.Uninterruptibles;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.netty.channel.DefaultEventLoop;
import io.netty.channel.EventLoop;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class AgentStreamTest {
  private final Semaphore requests = new Semaphore(0);
  private final AtomicInteger cancels = new AtomicInteger();
  private long now;

  /** Counts what is asked of it. */
  private final ClientCall<Object, Object> call =
      new ClientCall<>() {
        @Override
        public void start(Listener<Object> listener, Metadata headers) {}

        @Override
        public void request(int number) {
          requests.release(number);
        }

        @Override
        public void cancel(@Nullable String message, @Nullable Throwable cause) {
          cancels.incrementAndGet();
        }

        @Override
        public void halfClose() {}

        @Override
        public void sendMessage(Object message) {}
      };

  @Test
  void aBurstIsAskedForAtOnceAndTheRestAtItsRate() throws Exception {
    EventLoop loop = new DefaultEventLoop();
    CountDownLatch busy = new CountDownLatch(1);
    loop.execute(() -> Uninterruptibles.awaitUninterruptibly(busy));
    try (AgentStream stream = new AgentStream(call, loop, () -> now)) {
      resume(stream, 256);
      assertEquals(256, requests.drainPermits());
      resume(stream, 1);
      assertEquals(0, requests.availablePermits());
      busy.countDown();
      // It was only put off.
      requests.acquire();
      now += TimeUnit.MILLISECONDS.toNanos(2 * 11);
      resume(stream, 10);
      assertEquals(10, requests.drainPermits());
      // However long nothing came, no more than a burst is saved up.
      now += TimeUnit.HOURS.toNanos(1);
      CountDownLatch busyAgain = new CountDownLatch(1);
      loop.execute(() -> Uninterruptibles.awaitUninterruptibly(busyAgain));
      resume(stream, 300);
      assertEquals(256, requests.drainPermits());
      busyAgain.countDown();
    } finally {
      loop.shutdownGracefully(0, 1, TimeUnit.SECONDS).await();
    }
  }

  private static void resume(AgentStream stream, int times) {
    for (int i = 0; i < times; i++) {
      stream.resume();
    }
  }

  @Test
  void closingTwiceCancelsOnce() {
    AgentStream stream = new AgentStream(call, new DefaultEventLoop(), () -> now);
    stream.close();
    stream.close();
    assertEquals(1, cancels.get());
  }
}
