// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.micrometer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.HypervisorException;
import dev.nacelle.Nacelle;
import dev.nacelle.Pressure;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.Stage;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.Transport;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.net.InetAddress;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class NacelleMetricsTest {
  private static final Instant NOW = Instant.EPOCH;

  private final NacelleMetrics metrics = new NacelleMetrics();
  private final MeterRegistry registry = new SimpleMeterRegistry();

  private double count(String name, String... tags) {
    return registry.get(name).tags(tags).counter().count();
  }

  @Test
  void everyKindOfEventIsCountedInEveryRegistry() {
    MeterRegistry other = new SimpleMeterRegistry();
    metrics.bindTo(registry);
    metrics.bindTo(other);
    Duration second = Duration.ofSeconds(1);
    Pressure.Stall stall = Pressure.Stall.of(20, 10, second);
    List.of(
            new SandboxEvent.StageStarted("1", "a", NOW, Stage.BOOT),
            new SandboxEvent.StageEnded("1", "a", NOW, Stage.BOOT, second),
            new SandboxEvent.Started("1", "a", NOW),
            new SandboxEvent.Started("2", "b", NOW),
            new SandboxEvent.StartFailed(
                "3", "c", NOW, new HypervisorException(Stage.CREATE, "no", null, null)),
            new SandboxEvent.Paused("1", "a", NOW, "why"),
            new SandboxEvent.Resumed("1", "a", NOW, second),
            new SandboxEvent.ProcessStarted("1", "a", NOW, 1, 1, "sh"),
            new SandboxEvent.ProcessExited("1", "a", NOW, 1, ExitStatus.of(0)),
            new SandboxEvent.ProcessExited("1", "a", NOW, 2, ExitStatus.of(3)),
            new SandboxEvent.ProcessExited("1", "a", NOW, 3, ExitStatus.of(Signal.KILL)),
            new SandboxEvent.ProcessTreeEnded("1", "a", NOW, 1),
            new SandboxEvent.OomKilled("1", "a", NOW, 1, 2),
            new SandboxEvent.LimitReached("1", "a", NOW, SandboxEvent.Limit.PIDS, 7),
            new SandboxEvent.FilesystemFull("1", "a", NOW, SandboxEvent.Filesystem.ROOT),
            new SandboxEvent.PressureRose(
                "1", "a", NOW, SandboxEvent.Resource.IO, Pressure.of(stall, null)),
            new SandboxEvent.KernelWarning("1", "a", NOW, 4, "warned", 5),
            new SandboxEvent.EventsLost("1", "a", NOW, 9),
            new SandboxEvent.Ended(
                "2", "b", NOW, SandboxExit.of(SandboxExit.Reason.GUEST_CRASHED, "panicked")))
        .forEach(metrics::onEvent);
    assertEquals(1, registry.get("nacelle.sandboxes").gauge().value());
    assertEquals(2, count("nacelle.sandbox.starts"));
    assertEquals(1, count("nacelle.sandbox.start.failures", "exception", "HypervisorException"));
    assertEquals(1, count("nacelle.sandbox.exits", "reason", "guest_crashed"));
    assertEquals(0, count("nacelle.sandbox.exits", "reason", "idle"));
    var boot = registry.get("nacelle.sandbox.stage").tag("stage", "boot").timer();
    assertEquals(1.0, boot.totalTime(TimeUnit.SECONDS));
    assertEquals(1, registry.get("nacelle.sandbox.pauses").timer().count());
    assertEquals(1, count("nacelle.process.starts"));
    for (String outcome : List.of("success", "failure", "signal")) {
      assertEquals(1, count("nacelle.process.exits", "outcome", outcome), outcome);
    }
    assertEquals(2, count("nacelle.oom.kills"));
    assertEquals(7, count("nacelle.limit.reached", "limit", "pids"));
    assertEquals(1, count("nacelle.filesystem.full", "filesystem", "root"));
    assertEquals(1, count("nacelle.pressure.rises", "resource", "io"));
    assertEquals(6, count("nacelle.kernel.warnings"));
    assertEquals(9, count("nacelle.events.lost"));
    assertEquals(2, other.get("nacelle.sandbox.starts").counter().count());
  }

  @Test
  void everyKindOfEventOfNetworksIsCounted() throws Exception {
    metrics.bindTo(registry);
    int meters = registry.getMeters().size();
    NetworkEvent.Flow flow =
        new NetworkEvent.Flow(
            1,
            Transport.TCP,
            NetworkEvent.Direction.OUTBOUND,
            InetAddress.getByName("192.0.2.1"),
            443,
            0);
    Duration second = Duration.ofSeconds(1);
    List.of(
            new NetworkEvent.FlowAllowed("1", NOW, flow, "rule", List.of()),
            new NetworkEvent.FlowEnded("1", NOW, flow, 30, 400, second, NetworkEvent.End.FINISHED),
            new NetworkEvent.FlowDenied(
                "1", NOW, flow, DenialReason.SNI_MISMATCH, "rule", List.of(), ""),
            new NetworkEvent.FlowFailed("1", NOW, flow, "refused"),
            new NetworkEvent.NameResolved("1", NOW, "a.example", List.of()),
            new NetworkEvent.NameDenied("1", NOW, "b.example", 1, DenialReason.NO_RULE),
            new NetworkEvent.NameFailed("1", NOW, "c.example", 1, "no answer"),
            new NetworkEvent.LimitReached("1", NOW, NetworkEvent.Limit.OPENS, 5),
            new NetworkEvent.LinkLost("1", NOW, "why"),
            new NetworkEvent.EventsLost("1", NOW, 6))
        .forEach(metrics::onEvent);
    for (String outcome : List.of("connected", "denied", "failed")) {
      assertEquals(1, count("nacelle.network.flows", "outcome", outcome), outcome);
    }
    assertEquals(1, count("nacelle.network.denials", "reason", "sni_mismatch"));
    assertEquals(0, count("nacelle.network.denials", "reason", "no_rule"));
    assertEquals(1, count("nacelle.network.name.denials", "reason", "no_rule"));
    assertEquals(1, count("nacelle.network.name.failures"));
    assertEquals(30, count("nacelle.network.bytes", "direction", "sent"));
    assertEquals(400, count("nacelle.network.bytes", "direction", "received"));
    assertEquals(5, count("nacelle.network.limit.reached", "limit", "opens"));
    assertEquals(1, count("nacelle.network.lost"));
    assertEquals(6, count("nacelle.network.events.lost"));
    assertEquals(meters, registry.getMeters().size());
  }

  @Test
  void namesOfSandboxesMakeNoMeters() {
    metrics.bindTo(registry);
    metrics.onEvent(new SandboxEvent.Started("1", "a", NOW));
    int before = registry.getMeters().size();
    for (int i = 0; i < 100; i++) {
      metrics.onEvent(new SandboxEvent.Started("id" + i, "name" + i, NOW));
      metrics.onEvent(new SandboxEvent.OomKilled("id" + i, "name" + i, NOW, i, 1));
    }
    assertEquals(before, registry.getMeters().size());
  }

  @Test
  void machinesAreMeasuredByWhatTheyWereGiven() {
    Nacelle nacelle = mock(Nacelle.class);
    NacelleMetrics.ofMachines(nacelle).bindTo(registry);
    assertEquals(0, registry.get("nacelle.memory").gauge().value());
    Sandbox sandbox = mock(Sandbox.class);
    when(sandbox.spec())
        .thenReturn(
            SandboxSpec.builder().image("a").memory(DataSize.mebibytes(64)).cpus(3).build());
    when(nacelle.sandboxes()).thenReturn(List.of(sandbox, sandbox));
    assertEquals(128 << 20, registry.get("nacelle.memory").gauge().value());
    assertEquals(6, registry.get("nacelle.vcpus").gauge().value());
  }
}
