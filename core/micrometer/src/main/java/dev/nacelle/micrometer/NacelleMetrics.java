// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.micrometer;

import dev.nacelle.ExitStatus;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxListener;
import dev.nacelle.SandboxSpec;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkListener;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.binder.BaseUnits;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.ToDoubleFunction;

/**
 * Meters of what happens to sandboxes, for as many registries as it is bound to. It is given to
 * {@link Nacelle.Builder#listener}, and counts from then on in those registries that it is bound to
 * by then:
 *
 * <pre>{@code
 * NacelleMetrics metrics = new NacelleMetrics();
 * metrics.bindTo(registry);
 * Nacelle nacelle = Nacelle.builder().listener(metrics).build();
 * NacelleMetrics.ofMachines(nacelle).bindTo(registry);
 * }</pre>
 *
 * <p>Networks are counted of those sandboxes whose {@link SandboxSpec.Builder#networkListener} it
 * is, too: bytes of a connection when it ends, and what more happens in a second than is told only
 * as {@code nacelle.network.events.lost}.
 *
 * <p>No meter has a sandbox's name or identifier among its tags: there are as many meters as this
 * library has kinds of things, however many sandboxes there are and whatever guests do. Meters of
 * what happens in guests count what guests say. Safe for use from several threads.
 */
public final class NacelleMetrics implements SandboxListener, NetworkListener, MeterBinder {
  private final List<MeterRegistry> registries = new CopyOnWriteArrayList<>();
  private final AtomicInteger sandboxes = new AtomicInteger();

  /** Counts nothing until it hears of sandboxes and is bound to a registry. */
  public NacelleMetrics() {}

  /**
   * What the sandboxes of a runtime have been given: {@code nacelle.memory} in bytes, and {@code
   * nacelle.vcpus}. No guest is asked.
   */
  public static MeterBinder ofMachines(Nacelle nacelle) {
    return registry -> {
      Gauge.builder("nacelle.memory", nacelle, sum(sandbox -> sandbox.spec().memory().bytes()))
          .description("Memory that running sandboxes may take")
          .baseUnit(BaseUnits.BYTES)
          .register(registry);
      Gauge.builder("nacelle.vcpus", nacelle, sum(sandbox -> sandbox.spec().cpus()))
          .description("vCPUs of running sandboxes")
          .register(registry);
    };
  }

  private static ToDoubleFunction<Nacelle> sum(ToDoubleFunction<Sandbox> of) {
    return nacelle -> nacelle.sandboxes().stream().mapToDouble(of).sum();
  }

  @Override
  public void bindTo(MeterRegistry registry) {
    Gauge.builder("nacelle.sandboxes", sandboxes, AtomicInteger::get)
        .description("Sandboxes that have started and have not ended")
        .register(registry);
    registry.counter("nacelle.sandbox.starts");
    for (SandboxExit.Reason reason : SandboxExit.Reason.values()) {
      registry.counter("nacelle.sandbox.exits", "reason", tag(reason));
    }
    registry.timer("nacelle.sandbox.pauses");
    registry.counter("nacelle.process.starts");
    registry.counter("nacelle.oom.kills");
    for (SandboxEvent.Limit limit : SandboxEvent.Limit.values()) {
      registry.counter("nacelle.limit.reached", "limit", tag(limit));
    }
    for (SandboxEvent.Filesystem filesystem : SandboxEvent.Filesystem.values()) {
      registry.counter("nacelle.filesystem.full", "filesystem", tag(filesystem));
    }
    for (SandboxEvent.Resource resource : SandboxEvent.Resource.values()) {
      registry.counter("nacelle.pressure.rises", "resource", tag(resource));
    }
    registry.counter("nacelle.kernel.warnings");
    registry.counter("nacelle.events.lost");
    for (String outcome : List.of("connected", "denied", "failed")) {
      registry.counter("nacelle.network.flows", "outcome", outcome);
    }
    for (DenialReason reason : DenialReason.values()) {
      registry.counter("nacelle.network.denials", "reason", tag(reason));
      registry.counter("nacelle.network.name.denials", "reason", tag(reason));
    }
    for (String direction : List.of("sent", "received")) {
      Counter.builder("nacelle.network.bytes")
          .description("What connections of sandboxes that have ended have carried")
          .baseUnit(BaseUnits.BYTES)
          .tag("direction", direction)
          .register(registry);
    }
    for (NetworkEvent.Limit limit : NetworkEvent.Limit.values()) {
      registry.counter("nacelle.network.limit.reached", "limit", tag(limit));
    }
    registry.counter("nacelle.network.name.failures");
    registry.counter("nacelle.network.lost");
    registry.counter("nacelle.network.events.lost");
    registries.add(registry);
  }

  @Override
  public void onEvent(SandboxEvent event) {
    // A switch over the types of a sealed interface comes with Java 21.
    if (event instanceof SandboxEvent.StageEnded stage) {
      for (MeterRegistry registry : registries) {
        registry
            .timer("nacelle.sandbox.stage", "stage", tag(stage.stage()))
            .record(stage.duration());
      }
    } else if (event instanceof SandboxEvent.Started) {
      sandboxes.incrementAndGet();
      count(1, "nacelle.sandbox.starts");
    } else if (event instanceof SandboxEvent.StartFailed failed) {
      count(
          1,
          "nacelle.sandbox.start.failures",
          "exception",
          failed.failure().getClass().getSimpleName());
    } else if (event instanceof SandboxEvent.Ended ended) {
      sandboxes.decrementAndGet();
      count(1, "nacelle.sandbox.exits", "reason", tag(ended.exit().reason()));
    } else if (event instanceof SandboxEvent.Resumed resumed) {
      registries.forEach(
          registry -> registry.timer("nacelle.sandbox.pauses").record(resumed.paused()));
    } else if (event instanceof SandboxEvent.ProcessStarted) {
      count(1, "nacelle.process.starts");
    } else if (event instanceof SandboxEvent.ProcessExited exited) {
      count(1, "nacelle.process.exits", "outcome", outcome(exited.status()));
    } else if (event instanceof SandboxEvent.OomKilled killed) {
      count(killed.kills(), "nacelle.oom.kills");
    } else if (event instanceof SandboxEvent.LimitReached reached) {
      count(reached.times(), "nacelle.limit.reached", "limit", tag(reached.limit()));
    } else if (event instanceof SandboxEvent.FilesystemFull full) {
      count(1, "nacelle.filesystem.full", "filesystem", tag(full.filesystem()));
    } else if (event instanceof SandboxEvent.PressureRose rose) {
      count(1, "nacelle.pressure.rises", "resource", tag(rose.resource()));
    } else if (event instanceof SandboxEvent.KernelWarning warning) {
      count(1, "nacelle.kernel.warnings");
      count(warning.suppressed(), "nacelle.kernel.warnings");
    } else if (event instanceof SandboxEvent.EventsLost lost) {
      count(lost.count(), "nacelle.events.lost");
    }
  }

  @Override
  public void onEvent(NetworkEvent event) {
    if (event instanceof NetworkEvent.FlowAllowed) {
      count(1, "nacelle.network.flows", "outcome", "connected");
    } else if (event instanceof NetworkEvent.FlowDenied denied) {
      count(1, "nacelle.network.flows", "outcome", "denied");
      count(1, "nacelle.network.denials", "reason", tag(denied.reason()));
    } else if (event instanceof NetworkEvent.FlowFailed) {
      count(1, "nacelle.network.flows", "outcome", "failed");
    } else if (event instanceof NetworkEvent.FlowEnded ended) {
      count(ended.sent(), "nacelle.network.bytes", "direction", "sent");
      count(ended.received(), "nacelle.network.bytes", "direction", "received");
    } else if (event instanceof NetworkEvent.NameDenied denied) {
      count(1, "nacelle.network.name.denials", "reason", tag(denied.reason()));
    } else if (event instanceof NetworkEvent.NameFailed) {
      count(1, "nacelle.network.name.failures");
    } else if (event instanceof NetworkEvent.LimitReached reached) {
      count(reached.times(), "nacelle.network.limit.reached", "limit", tag(reached.limit()));
    } else if (event instanceof NetworkEvent.LinkLost) {
      count(1, "nacelle.network.lost");
    } else if (event instanceof NetworkEvent.EventsLost lost) {
      count(lost.count(), "nacelle.network.events.lost");
    }
  }

  private static String outcome(ExitStatus status) {
    return status.signal().isPresent() ? "signal" : status.succeeded() ? "success" : "failure";
  }

  private static String tag(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  private void count(long times, String name, String... tags) {
    for (MeterRegistry registry : registries) {
      registry.counter(name, tags).increment((double) times);
    }
  }
}
