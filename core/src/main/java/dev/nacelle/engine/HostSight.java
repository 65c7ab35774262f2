// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.Sandbox.StatisticsStream;
import dev.nacelle.VmStatistics;
import dev.nacelle.internal.ListenerGuard;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * What the host sees of one sandbox's machine, again and again. Listeners are called by workers,
 * and what would be read while one is busy is not.
 */
final class HostSight {
  private final GuestCalls calls;
  private final Supplier<VmStatistics> source;
  private final Timers timers;
  private final Workers workers;
  private final String sandbox;

  /** Those that are open; also their lock. */
  private final Set<Stream> streams = new HashSet<>();

  /**
   * @param source reads them
   * @param sandbox what it is, for the log
   */
  HostSight(
      GuestCalls calls,
      Supplier<VmStatistics> source,
      Timers timers,
      Workers workers,
      String sandbox) {
    this.calls = calls;
    this.source = source;
    this.timers = timers;
    this.workers = workers;
    this.sandbox = sandbox;
  }

  /** As {@link dev.nacelle.Sandbox#streamStatistics}. */
  StatisticsStream stream(Duration interval, Consumer<VmStatistics> listener) {
    Stream stream = new Stream(GuestSight.check(interval), Objects.requireNonNull(listener));
    synchronized (streams) {
      // In here, so that none is added after the end.
      calls.requireOpen();
      if (streams.size() == GuestSight.MAX_STREAMS) {
        throw GuestSight.tooManyStreams();
      }
      streams.add(stream);
    }
    stream.read();
    return stream;
  }

  /** The sandbox has ended. */
  void end() {
    List<Stream> open;
    synchronized (streams) {
      open = List.copyOf(streams);
    }
    open.forEach(Stream::close);
  }

  private final class Stream implements StatisticsStream {
    private final Duration interval;
    private final Consumer<VmStatistics> listener;
    private final ListenerGuard guard =
        new ListenerGuard("a listener of the statistics of " + sandbox);
    private @Nullable Future<?> next;

    Stream(Duration interval, Consumer<VmStatistics> listener) {
      this.interval = interval;
      this.listener = listener;
    }

    private boolean isOpen() {
      synchronized (streams) {
        return streams.contains(this);
      }
    }

    void read() {
      workers.executePatiently(
          () -> {
            if (isOpen()) {
              guard.run(() -> listener.accept(source.get()));
              readLater();
            }
          });
    }

    private void readLater() {
      synchronized (streams) {
        if (streams.contains(this)) {
          next = timers.schedule(this::read, interval);
        }
      }
    }

    @Override
    public void close() {
      synchronized (streams) {
        if (streams.remove(this) && next != null) {
          next.cancel(false);
        }
      }
    }
  }
}
