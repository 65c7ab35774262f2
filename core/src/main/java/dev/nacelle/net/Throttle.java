// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.network.Rate;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Bytes per second of all flows of a sandbox together, in one direction. Flows that find none left
 * wait for their turn. On the loop.
 */
final class Throttle {
  /** What is worth going on for. */
  private static final long PORTION = 16 << 10;

  private static final Duration SHORTEST = Duration.ofMillis(1);

  private final NetworkLoop loop;
  private final Consumer<TcpFlow> goOn;
  private final Runnable afterwards;
  private final Set<TcpFlow> waiting = new LinkedHashSet<>();
  private @Nullable TokenBucket bytes;
  private NetworkLoop.@Nullable Timer timer;

  /**
   * @param goOn is told of each flow when there are bytes for it
   * @param afterwards is run when those were told that there are bytes for
   */
  Throttle(NetworkLoop loop, Consumer<TcpFlow> goOn, Runnable afterwards) {
    this.afterwards = afterwards;
    this.loop = loop;
    this.goOn = goOn;
  }

  /** From now on; null for no limit. */
  void limit(@Nullable Rate rate) {
    bytes = rate == null ? null : new TokenBucket(rate, System.nanoTime());
    // It would be as late as the rate before was low.
    stopTimer();
    goOn();
  }

  boolean isLimited() {
    return bytes != null;
  }

  /** The flow has used what there was, and gets its turn later. */
  void await(TcpFlow flow) {
    waiting.add(flow);
    wakeLater();
  }

  /**
   * How many bytes there are. Asked once for a turn: while bytes are moved a few more come, for
   * which nobody should go on.
   */
  long left() {
    TokenBucket limit = bytes;
    return limit == null ? Long.MAX_VALUE : limit.available(System.nanoTime());
  }

  void use(int count) {
    TokenBucket limit = bytes;
    if (limit != null) {
      limit.use(count);
    }
  }

  /** It has ended. */
  void forget(Flow flow) {
    waiting.remove(flow);
  }

  private void wakeLater() {
    TokenBucket limit = bytes;
    if (timer == null && limit != null) {
      Duration delay = Duration.ofNanos(limit.nanosUntil(PORTION));
      timer = loop.schedule(this::wake, delay.compareTo(SHORTEST) < 0 ? SHORTEST : delay);
    }
  }

  private void wake() {
    timer = null;
    goOn();
  }

  private void goOn() {
    for (int i = waiting.size(); i > 0 && !waiting.isEmpty() && isWorthIt(); i--) {
      TcpFlow first = waiting.iterator().next();
      waiting.remove(first);
      goOn.accept(first);
    }
    if (!waiting.isEmpty()) {
      wakeLater();
    }
    afterwards.run();
  }

  private boolean isWorthIt() {
    TokenBucket limit = bytes;
    return limit == null || limit.has(PORTION, System.nanoTime());
  }

  void close() {
    waiting.clear();
    stopTimer();
  }

  private void stopTimer() {
    if (timer != null) {
      timer.cancel();
      timer = null;
    }
  }
}
