// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.DiskUse;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestStatistics;
import dev.nacelle.NetworkUse;
import dev.nacelle.Pressure;
import dev.nacelle.Sandbox;
import dev.nacelle.Sandbox.StatisticsStream;
import dev.nacelle.SandboxEvent;
import dev.nacelle.Signal;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.internal.ListenerFailures;
import dev.nacelle.proto.agent.v1.Event;
import dev.nacelle.proto.agent.v1.KernelWarning;
import dev.nacelle.proto.agent.v1.LimitReached;
import dev.nacelle.proto.agent.v1.NetworkInterface;
import dev.nacelle.proto.agent.v1.OomKill;
import dev.nacelle.proto.agent.v1.PressureRose;
import dev.nacelle.proto.agent.v1.ProcessExited;
import dev.nacelle.proto.agent.v1.ProcessStarted;
import dev.nacelle.proto.agent.v1.Stall;
import dev.nacelle.proto.agent.v1.Statistics;
import dev.nacelle.proto.agent.v1.Traffic;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** What is seen of a guest, and how much of it a guest can make the host do. */
@ExtendWith(NettyLeaks.class)
@Timeout(120)
class GuestSightTest {
  private static final Duration INTERVAL = Duration.ofMillis(100);

  private final BlockingQueue<SandboxEvent> heard = new LinkedBlockingQueue<>();

  private FakeNacelle listened() {
    return new FakeNacelle(
        Fault.NONE,
        new FakeSources(),
        event -> {
          if (!(event instanceof SandboxEvent.StageStarted
              || event instanceof SandboxEvent.StageEnded)) {
            heard.add(event);
          }
        });
  }

  private <T extends SandboxEvent> T next(Class<T> type) throws InterruptedException {
    return assertInstanceOf(type, heard.take());
  }

  private static void awaitWatching(FakeNacelle fake, int number) {
    while (fake.machine().agent().watching() != number) {
      Thread.onSpinWait();
    }
  }

  @Test
  void whatTheGuestCountsIsReadAndTheRestIsAbsent() {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      fake.machine().agent().use(Statistics.getDefaultInstance());
      GuestStatistics none = sandbox.guestStatistics();
      assertEquals(GuestStatistics.builder(Duration.ZERO).build(), none);
      fake.machine()
          .agent()
          .use(
              Statistics.newBuilder()
                  .setBoottimeNanos(5)
                  .setMemoryBytes(1 << 20)
                  .setOomKills(0)
                  .setCpuNanos(7)
                  .setProcesses(3)
                  .setScratchDisk(
                      dev.nacelle.proto.agent.v1.DiskUse.newBuilder()
                          .setReadBytes(1)
                          .setWrittenBytes(2)
                          .setReads(3)
                          .setWrites(4))
                  .setIoPressure(
                      dev.nacelle.proto.agent.v1.Pressure.newBuilder()
                          .setSome(
                              Stall.newBuilder()
                                  .setAverage10Hundredths(1234)
                                  .setAverage60Hundredths(5)
                                  .setTotalNanos(6)))
                  .setMachineLoadHundredths(150)
                  .addInterfaces(
                      NetworkInterface.newBuilder()
                          .setName("lo")
                          .setReceived(
                              Traffic.newBuilder()
                                  .setBytes(1)
                                  .setPackets(2)
                                  .setErrors(3)
                                  .setDropped(4)))
                  .setOpenFiles(40)
                  .setOpenFilesLimit(50)
                  .build());
      GuestStatistics now = sandbox.guestStatistics();
      assertEquals(
          GuestStatistics.builder(Duration.ofNanos(5))
              .memory(DataSize.mebibytes(1))
              .oomKills(0L)
              .cpuTime(Duration.ofNanos(7))
              .processes(3L)
              .scratchDisk(DiskUse.of(DataSize.bytes(1), DataSize.bytes(2), 3, 4))
              .ioPressure(Pressure.of(Pressure.Stall.of(12.34, 0.05, Duration.ofNanos(6)), null))
              .load(1.5)
              .interfaces(
                  Map.of(
                      "lo",
                      NetworkUse.of(
                          NetworkUse.Traffic.of(DataSize.bytes(1), 2, 3, 4),
                          NetworkUse.Traffic.of(DataSize.bytes(0), 0, 0, 0))))
              .openFiles(40L)
              .openFilesLimit(50L)
              .build(),
          now);
      assertEquals(OptionalLong.of(0), now.oomKills());
      assertEquals(OptionalLong.empty(), now.processLimit());
      assertEquals(Optional.empty(), now.imageDisk());
    }
  }

  @Test
  void numbersThatNoGuestCanMeanAreTheNearestThatThereAre() {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      fake.machine()
          .agent()
          .use(
              Statistics.newBuilder()
                  .setBoottimeNanos(-1)
                  .setMemoryBytes(-1)
                  .setProcesses(-1)
                  .setMachineLoadHundredths(-1)
                  .setMemoryPressure(
                      dev.nacelle.proto.agent.v1.Pressure.newBuilder()
                          .setSome(Stall.newBuilder().setAverage10Hundredths(-1)))
                  .addAllInterfaces(
                      IntStream.range(0, 1000)
                          .mapToObj(i -> NetworkInterface.newBuilder().setName("\neth" + i).build())
                          .toList())
                  .build());
      GuestStatistics now = sandbox.guestStatistics();
      assertEquals(Duration.ofNanos(Long.MAX_VALUE), now.uptime());
      assertEquals(DataSize.bytes(Long.MAX_VALUE), now.memory().orElseThrow());
      assertEquals(Long.MAX_VALUE, now.processes().orElseThrow());
      assertEquals(42949672.95, now.load().orElseThrow());
      assertEquals(64, now.interfaces().size());
      assertTrue(now.interfaces().keySet().stream().noneMatch(name -> name.contains("\n")));
      assertEquals(100.0, now.memoryPressure().orElseThrow().some().percentOf10Seconds());
    }
  }

  @Test
  void aListenerOfStatisticsMayBlockAndThrow() throws Exception {
    try (ListenerFailures failures = new ListenerFailures();
        FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      CountDownLatch entered = new CountDownLatch(3);
      try (StatisticsStream stream =
          sandbox.streamGuestStatistics(
              INTERVAL,
              reading -> {
                // Asks the guest meanwhile, which no event loop could wait for.
                sandbox.exec("true");
                entered.countDown();
                throw new IllegalStateException("thrown by a listener");
              })) {
        entered.await();
      }
      assertEquals(List.of("thrown by a listener"), failures.messages());
    }
  }

  @Test
  void whatHappensInTheGuestIsToldBetweenStartAndEnd() throws Exception {
    try (FakeNacelle fake = listened()) {
      Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().name("box").build());
      next(SandboxEvent.Started.class);
      awaitWatching(fake, 1);
      var agent = fake.machine().agent();
      Instant before = Instant.now();
      agent.tell(
          Event.newBuilder()
              .setAgeNanos(60_000_000_000L)
              .setProcessStarted(
                  ProcessStarted.newBuilder().setProcessId(4).setPid(5).setCommand("a\nb"))
              .build());
      var started = next(SandboxEvent.ProcessStarted.class);
      assertEquals(sandbox.id(), started.sandboxId());
      assertEquals("box", started.sandboxName());
      assertTrue(started.time().isBefore(before), started::toString);
      assertEquals(List.of(4L, 5L), List.of(started.processId(), started.pid()));
      assertEquals("a b", started.command());
      agent.tell(
          Event.newBuilder()
              .setProcessExited(ProcessExited.newBuilder().setProcessId(4).setSignal(9))
              .build());
      assertEquals(ExitStatus.of(Signal.KILL), next(SandboxEvent.ProcessExited.class).status());
      agent.tell(
          Event.newBuilder()
              .setProcessExited(ProcessExited.newBuilder().setProcessId(4).setExitCode(-7))
              .build());
      assertEquals(ExitStatus.of(0), next(SandboxEvent.ProcessExited.class).status());
      agent.tell(Event.newBuilder().setTreeEnded(4).build());
      assertEquals(4, next(SandboxEvent.ProcessTreeEnded.class).processId());
      agent.tell(
          Event.newBuilder().setOomKill(OomKill.newBuilder().setProcessId(4).setKills(2)).build());
      var killed = next(SandboxEvent.OomKilled.class);
      assertEquals(List.of(4L, 2L), List.of(killed.processId(), killed.kills()));
      agent.tell(
          Event.newBuilder()
              .setLimitReached(
                  LimitReached.newBuilder().setLimit(LimitReached.Limit.PIDS).setTimes(3))
              .build());
      var reached = next(SandboxEvent.LimitReached.class);
      assertEquals(SandboxEvent.Limit.PIDS, reached.limit());
      assertEquals(3, reached.times());
      agent.tell(
          Event.newBuilder()
              .setLimitReached(
                  LimitReached.newBuilder().setLimit(LimitReached.Limit.OPEN_FILES).setTimes(1))
              .build());
      assertEquals(SandboxEvent.Limit.OPEN_FILES, next(SandboxEvent.LimitReached.class).limit());
      agent.tell(
          Event.newBuilder()
              .setPressureRose(PressureRose.newBuilder().setResource(PressureRose.Resource.IO))
              .build());
      assertEquals(SandboxEvent.Resource.IO, next(SandboxEvent.PressureRose.class).resource());
      agent.tell(Event.newBuilder().setFilesystemFull(Event.Filesystem.SHARED_MEMORY).build());
      assertEquals(
          SandboxEvent.Filesystem.SHARED_MEMORY,
          next(SandboxEvent.FilesystemFull.class).filesystem());
      agent.tell(
          Event.newBuilder()
              .setKernelWarning(
                  KernelWarning.newBuilder()
                      .setLevel(-1)
                      .setMessage("x\u001b[31m")
                      .setSuppressed(8))
              .build());
      var warning = next(SandboxEvent.KernelWarning.class);
      assertEquals(4, warning.level());
      assertEquals("x [31m", warning.message());
      assertEquals(8, warning.suppressed());
      agent.tell(Event.newBuilder().setLost(-1).build());
      assertEquals(Long.MAX_VALUE, next(SandboxEvent.EventsLost.class).count());
      sandbox.close();
      next(SandboxEvent.Ended.class);
    }
    assertTrue(heard.isEmpty(), heard::toString);
  }

  @Test
  void whatThisVersionKnowsNothingOfIsPassedOver() throws Exception {
    try (FakeNacelle fake = listened();
        Sandbox sandbox = fake.start()) {
      assertTrue(sandbox.isAlive());
      next(SandboxEvent.Started.class);
      awaitWatching(fake, 1);
      for (Event unknown :
          List.of(
              Event.getDefaultInstance(),
              Event.newBuilder().setFilesystemFullValue(77).build(),
              Event.newBuilder()
                  .setLimitReached(LimitReached.newBuilder().setLimitValue(77))
                  .build(),
              Event.newBuilder()
                  .setPressureRose(PressureRose.newBuilder().setResourceValue(77))
                  .build())) {
        fake.machine().agent().tell(unknown);
      }
      fake.machine().agent().tell(Event.newBuilder().setTreeEnded(1).build());
      next(SandboxEvent.ProcessTreeEnded.class);
    }
  }

  @Test
  void aSlowListenerMakesEventsWaitInTheGuestAndNotHere() throws Exception {
    CountDownLatch entered = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    List<Long> order = new CopyOnWriteArrayList<>();
    try (FakeNacelle fake =
        new FakeNacelle(
            Fault.NONE,
            new FakeSources(),
            event -> {
              if (event instanceof SandboxEvent.ProcessTreeEnded ended) {
                entered.countDown();
                awaitUninterrupted(goOn);
                order.add(ended.processId());
              }
            })) {
      Sandbox sandbox = fake.start();
      awaitWatching(fake, 1);
      for (int i = 1; i <= 50; i++) {
        fake.machine().agent().tell(Event.newBuilder().setTreeEnded(i).build());
      }
      entered.await();
      // It holds up nothing else.
      sandbox.exec("true").orThrow();
      goOn.countDown();
      while (order.size() < 50) {
        sandbox.exec("true").orThrow();
      }
      for (int i = 0; i < 50; i++) {
        assertEquals(i + 1, order.get(i));
      }
    }
  }

  private static void awaitUninterrupted(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void nobodyWatchesAGuestOfWhichNobodyHears() {
    try (FakeNacelle fake = new FakeNacelle()) {
      var unheard =
          new EngineBuilder().hypervisor(fake.hypervisor).sources(new FakeSources()).build();
      try (unheard;
          Sandbox sandbox = unheard.start(FakeNacelle.spec().build())) {
        sandbox.exec("true").orThrow();
        assertEquals(0, fake.machine().agent().watching());
      }
    }
  }
}
