// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.GuestProcess;
import dev.nacelle.HypervisorException;
import dev.nacelle.Pause;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxListener;
import dev.nacelle.Signal;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.fake.FakeMachine;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

@Timeout(60)
@ExtendWith(NettyLeaks.class)
class SandboxPauseTest {
  private final FakeNacelle fake = new FakeNacelle();
  private final Sandbox sandbox = fake.start();
  private final FakeMachine machine = fake.machine();

  @AfterEach
  void close() {
    fake.close();
  }

  @Test
  void goesOnWhenTheLastPauseIsOver() {
    Pause first = sandbox.pause();
    Pause second = sandbox.pause("a copy of its disk");
    assertTrue(machine.isPaused());
    assertEquals("a copy of its disk", second.reason());
    assertEquals(List.of("user", "a copy of its disk"), sandbox.pauses());
    first.close();
    first.close();
    assertTrue(machine.isPaused());
    assertEquals(List.of("a copy of its disk"), sandbox.pauses());
    second.close();
    assertFalse(machine.isPaused());
    assertEquals(List.of(), sandbox.pauses());
    assertEquals(1, machine.pauses());
    sandbox.exec("true");
  }

  @Test
  void callsWaitForItToGoOn() throws Exception {
    CompletableFuture<ExecResult> result;
    CompletableFuture<Integer> listed;
    try (Pause unused = sandbox.pause()) {
      result = sandbox.execAsync("echo", "on");
      listed = CompletableFuture.supplyAsync(() -> sandbox.processes().size());
      Thread.sleep(100);
      assertFalse(result.isDone());
      assertFalse(listed.isDone());
    }
    assertEquals("on\n", result.get().stdout().text());
    assertTrue(listed.get() <= 1);
  }

  @Test
  void itsWallClockIsSetAfterwards() throws Exception {
    sandbox.pause().close();
    long before = Pauses.realtime();
    sandbox.pause().close();
    while (machine.agent().clocks().size() < 2) {
      Thread.sleep(1);
    }
    long set = machine.agent().clocks().get(1);
    assertTrue(set >= before && set <= Pauses.realtime(), () -> set + " and " + before);
  }

  @Test
  void aGraceDoesNotCountThePause() throws Exception {
    GuestProcess process = sandbox.start("hang");
    Pause pause = sandbox.pause();
    CompletableFuture<?> stopped =
        CompletableFuture.supplyAsync(() -> process.stop(Duration.ofMillis(1)));
    Thread.sleep(100);
    assertFalse(stopped.isDone());
    assertTrue(process.isAlive());
    pause.close();
    stopped.get();
  }

  @Test
  void isClosedAtOnceWhilePaused() {
    Sandbox own = fake.nacelle.start(FakeNacelle.spec().stopGrace(Duration.ofMinutes(5)).build());
    FakeMachine its = fake.machine();
    Pause pause = own.pause();
    own.close();
    assertFalse(its.askedToShutDown().isDone());
    assertEquals(SandboxExit.Reason.CLOSED, own.onExit().join().reason());
    assertEquals(List.of(), own.pauses());
    pause.close();
    assertThrows(SandboxEndedException.class, own::pause);
  }

  @Test
  void isKilledWhilePaused() {
    Sandbox own = fake.start();
    CompletableFuture<ExecResult> result = own.execAsync("hang");
    own.pause();
    own.kill();
    assertEquals(SandboxExit.Reason.KILLED, own.onExit().join().reason());
    assertTrue(result.handle((value, failure) -> failure != null).join());
  }

  @Test
  void manyPausesChangeNoResult() throws Exception {
    List<CompletableFuture<ExecResult>> results = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      results.add(sandbox.execAsync("echo", String.valueOf(i)));
      sandbox.pause().close();
    }
    GuestProcess process = sandbox.start(ProcessSpec.of("hang"));
    for (int i = 0; i < 200; i++) {
      assertEquals(i + "\n", results.get(i).get().stdout().text());
    }
    process.signal(Signal.TERM);
    process.waitFor();
  }

  @Test
  void memoryIsResizedInWholePagesUpToWhatItWasGiven() {
    DataSize all = sandbox.spec().memory();
    assertEquals(all, sandbox.memory());
    sandbox.setMemory(DataSize.bytes(all.bytes() / 2 + 1));
    assertEquals(DataSize.bytes(all.bytes() / 2 + 4096), sandbox.memory());
    sandbox.setMemory(all);
    assertEquals(all, sandbox.memory());
    assertThrows(
        IllegalArgumentException.class, () -> sandbox.setMemory(DataSize.bytes(all.bytes() + 1)));
    assertThrows(IllegalArgumentException.class, () -> sandbox.setMemory(DataSize.bytes(0)));
  }

  @Test
  void memoryThatCannotBeResizedIsAllThere() {
    try (FakeNacelle other = new FakeNacelle(Fault.CANNOT_BE_PAUSED);
        Sandbox own = other.start()) {
      assertEquals(own.spec().memory(), own.memory());
      assertThrows(
          UnsupportedOperationException.class, () -> own.setMemory(DataSize.mebibytes(64)));
    }
  }

  /** Another thread may be about to tell of them. */
  private static void awaitSize(List<?> told, int size) throws InterruptedException {
    for (int i = 0; i < 3_000 && told.size() < size; i++) {
      Thread.sleep(10);
    }
  }

  @Test
  void listenersAreToldWhenItStandsStillAndWhenItGoesOn() throws Exception {
    List<SandboxEvent> events = new CopyOnWriteArrayList<>();
    List<Boolean> standing = new CopyOnWriteArrayList<>();
    CompletableFuture<FakeMachine> its = new CompletableFuture<>();
    SandboxListener listener =
        event -> {
          if (event instanceof SandboxEvent.Paused || event instanceof SandboxEvent.Resumed) {
            events.add(event);
            standing.add(its.join().isPaused());
          }
        };
    try (FakeNacelle other = new FakeNacelle(Fault.NONE, new FakeSources(), listener)) {
      Sandbox own = other.start();
      its.complete(other.machine());
      Pause first = own.pause("one");
      awaitSize(standing, 1);
      Pause second = own.pause("two");
      first.close();
      second.close();
      awaitSize(standing, 2);
      own.pause("three");
      awaitSize(standing, 3);
      own.close();
      assertEquals(3, events.size(), events::toString);
      SandboxEvent.Paused paused = assertInstanceOf(SandboxEvent.Paused.class, events.get(0));
      assertEquals("one", paused.reason());
      assertEquals(own.id(), paused.sandboxId());
      SandboxEvent.Resumed resumed = assertInstanceOf(SandboxEvent.Resumed.class, events.get(1));
      assertTrue(resumed.paused().toNanos() > 0, resumed::toString);
      assertEquals("three", assertInstanceOf(SandboxEvent.Paused.class, events.get(2)).reason());
      assertEquals(List.of(true, false, true), standing);
    }
  }

  @Test
  void aListenerMayHaveOthersPauseIt() {
    CompletableFuture<Sandbox> its = new CompletableFuture<>();
    SandboxListener listener =
        event -> {
          if (event instanceof SandboxEvent.Paused) {
            // Were a lock held, the other thread would wait for this one.
            CompletableFuture.runAsync(() -> its.join().pause("another").close()).join();
          }
        };
    try (FakeNacelle other = new FakeNacelle(Fault.NONE, new FakeSources(), listener);
        Sandbox own = other.start()) {
      its.complete(own);
      own.pause().close();
      assertEquals(List.of(), own.pauses());
    }
  }

  @Test
  void saysWhereMachinesCannotBePaused() {
    try (FakeNacelle other = new FakeNacelle(Fault.CANNOT_BE_PAUSED);
        Sandbox own = other.start()) {
      assertThrows(UnsupportedOperationException.class, own::pause);
      own.exec("true");
    }
  }

  @Test
  void endsWhereItDoesNotStandStill() {
    try (FakeNacelle other = new FakeNacelle(Fault.PAUSE_FAILS);
        Sandbox own = other.start()) {
      assertThrows(HypervisorException.class, own::pause);
      assertEquals(SandboxExit.Reason.HOST_FAILED, own.onExit().join().reason());
    }
  }
}
