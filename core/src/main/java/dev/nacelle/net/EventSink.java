// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import dev.nacelle.internal.ListenerGuard;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkListener;
import dev.nacelle.network.Rate;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.EnumMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.Executor;
import java.util.function.Function;

/**
 * Tells a listener what happens, in order, on a thread of the executor's: at most 100 events a
 * second and 1,000 that wait, and then how many were not told. Made and fed on the loop.
 */
final class EventSink {
  private static final Rate RATE = Rate.perSecond(100).withBurst(100);
  private static final int MAX_WAITING = 1000;
  private static final long ONCE_IN = 1_000_000_000L;

  private final String sandboxId;
  private final NetworkListener listener;
  private final Executor executor;
  private final ListenerGuard guard = new ListenerGuard("the network's listener");
  private final ListenerGuard beginning = new ListenerGuard("a thread for the network's listener");
  private final TokenBucket left = new TokenBucket(RATE, System.nanoTime());
  private final Map<Limit, LimitCount> limits = new EnumMap<>(Limit.class);

  /** Guards what follows. */
  private final Object lock = new Object();

  private final Queue<NetworkEvent> waiting = new ArrayDeque<>();
  private boolean telling;
  private long lost;
  private long lostInAll;

  EventSink(String sandboxId, NetworkListener listener, Executor executor) {
    this.sandboxId = sandboxId;
    this.listener = listener;
    this.executor = executor;
  }

  private static final class LimitCount {
    private long times;
    private long toldAt;
  }

  /** A limit was reached; told at once, and then once a second with how often it was. */
  void limit(Limit limit) {
    long now = System.nanoTime();
    LimitCount count = limits.get(limit);
    if (count == null) {
      count = new LimitCount();
      count.toldAt = now - ONCE_IN;
      limits.put(limit, count);
    }
    count.times++;
    if (now - count.toldAt >= ONCE_IN) {
      tell(limit, count, now);
    }
  }

  private void tell(Limit limit, LimitCount count, long now) {
    long times = count.times;
    count.times = 0;
    count.toldAt = now;
    tell(time -> new NetworkEvent.LimitReached(sandboxId, time, limit, times));
  }

  /** Tells of limits that were reached meanwhile; to be called about once a second. */
  void tellLimits() {
    long now = System.nanoTime();
    limits.forEach(
        (limit, count) -> {
          if (count.times > 0 && now - count.toldAt >= ONCE_IN) {
            tell(limit, count, now);
          }
        });
  }

  /** Makes an event, if it is going to be told. */
  void tell(Function<Instant, NetworkEvent> event) {
    boolean start;
    synchronized (lock) {
      if (waiting.size() >= MAX_WAITING || !left.take(System.nanoTime())) {
        lost++;
        lostInAll++;
        return;
      }
      if (lost > 0) {
        waiting.add(new NetworkEvent.EventsLost(sandboxId, Instant.now(), lost));
        lost = 0;
      }
      waiting.add(event.apply(Instant.now()));
      start = !telling;
      telling = true;
    }
    if (start) {
      beginning.run(this::begin);
    }
  }

  private void begin() {
    try {
      executor.execute(this::tellAll);
    } catch (RuntimeException | Error e) {
      // What waits is told with the next.
      synchronized (lock) {
        telling = false;
      }
      throw e;
    }
  }

  private void tellAll() {
    while (true) {
      NetworkEvent next;
      synchronized (lock) {
        next = waiting.poll();
        if (next == null) {
          telling = false;
          return;
        }
      }
      guard.run(() -> listener.onEvent(next));
    }
  }

  String sandboxId() {
    return sandboxId;
  }

  long lost() {
    synchronized (lock) {
      return lostInAll;
    }
  }
}
