// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.GuestStatistics;
import dev.nacelle.Sandbox.StatisticsStream;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentStream;
import dev.nacelle.internal.ListenerGuard;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * What is seen of one sandbox's guest. Listeners may take their time, which event loops have not:
 * they are called by workers, and the guest is asked for the next when they are done with one.
 */
final class GuestSight {
  /** Of each kind. */
  static final int MAX_STREAMS = 8;

  private static final Duration LEAST_INTERVAL = Duration.ofMillis(100);
  private static final Duration LONGEST_INTERVAL = Duration.ofHours(1);

  private final GuestCalls calls;
  private final AgentClient client;
  private final Workers workers;
  private final String sandbox;
  private final Semaphore streams = new Semaphore(MAX_STREAMS);

  /**
   * @param sandbox what it is, for the log
   */
  GuestSight(GuestCalls calls, AgentClient client, Workers workers, String sandbox) {
    this.calls = calls;
    this.client = client;
    this.workers = workers;
    this.sandbox = sandbox;
  }

  /** Tells of what happens in the guest, where somebody listens. */
  void tell(SandboxEvents events) {
    if (events.areHeard()) {
      CompletableFuture<AgentStream> stream = new CompletableFuture<>();
      client
          .watchEvents(
              events.id(),
              events.name(),
              event ->
                  workers.executePatiently(() -> events.tell(event, () -> stream.join().resume())))
          .ifPresent(stream::complete);
    }
  }

  /** As {@link dev.nacelle.Sandbox#guestStatistics()}. */
  GuestStatistics statistics() {
    calls.requireOpen();
    return calls.await(client.statistics());
  }

  /** As {@link dev.nacelle.Sandbox#streamGuestStatistics}. */
  StatisticsStream stream(Duration interval, Consumer<GuestStatistics> listener) {
    Objects.requireNonNull(listener);
    check(interval);
    calls.requireOpen();
    if (!streams.tryAcquire()) {
      throw tooManyStreams();
    }
    ListenerGuard guard = new ListenerGuard("a listener of the statistics of " + sandbox);
    CompletableFuture<AgentStream> stream = new CompletableFuture<>();
    client
        .watchStatistics(
            interval,
            reading ->
                workers.executePatiently(
                    () -> {
                      guard.run(() -> listener.accept(reading));
                      stream.join().resume();
                    }))
        .ifPresent(stream::complete);
    AtomicBoolean open = new AtomicBoolean(true);
    return () -> {
      if (open.compareAndSet(true, false)) {
        streams.release();
        var unused = stream.thenAccept(AgentStream::close);
      }
    };
  }

  /** From one reading to the next. */
  static Duration check(Duration interval) {
    if (interval.compareTo(LEAST_INTERVAL) < 0 || interval.compareTo(LONGEST_INTERVAL) > 0) {
      throw new IllegalArgumentException(
          "the interval is not between "
              + LEAST_INTERVAL
              + " and "
              + LONGEST_INTERVAL
              + ": "
              + interval);
    }
    return interval;
  }

  static IllegalStateException tooManyStreams() {
    return new IllegalStateException(MAX_STREAMS + " streams of statistics are open already");
  }
}
