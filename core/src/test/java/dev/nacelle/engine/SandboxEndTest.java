// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.GuestProcess;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxExit.Reason;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.TerminalSize;
import dev.nacelle.VmExit;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor.Fault;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Why a sandbox ends, how it is made to, and that no guest keeps it from ending. */
@ExtendWith(NettyLeaks.class)
@Timeout(120)
class SandboxEndTest {
  private static final Duration HOUR = Duration.ofHours(1);

  private static SandboxEndedException afterTheEnd(Sandbox sandbox) {
    return assertThrows(SandboxEndedException.class, () -> sandbox.exec("true"));
  }

  @ParameterizedTest
  @CsvSource({
    "POWER_OFF, GUEST_ENDED",
    "EXITED, GUEST_ENDED",
    "RESET, GUEST_CRASHED",
    "CRASHED, GUEST_CRASHED",
    "GUEST_FAULT, GUEST_CRASHED",
    "HOST_ERROR, HOST_FAILED"
  })
  void machineThatEndsByItselfIsTheCause(VmExit.Reason machine, Reason expected) throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      fake.machine().endBy(machine);
      SandboxExit exit = sandbox.onExit().get();
      assertEquals(expected, exit.reason());
      assertEquals(machine, exit.machine().orElseThrow().reason());
      assertTrue(exit.detail().contains("as the test has it"), exit::detail);
      SandboxEndedException ended = afterTheEnd(sandbox);
      assertEquals(exit, ended.exit());
      boolean guestIsToBlame = expected != Reason.HOST_FAILED;
      assertEquals(guestIsToBlame, ended.getMessage().contains("Linux version"));
    }
  }

  @Test
  void closingIsNeitherAPowerOffNorTheConsolesAffair() throws Exception {
    try (FakeNacelle fake = new FakeNacelle()) {
      Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().name("box").stopGrace(HOUR).build());
      sandbox.close();
      SandboxExit exit = sandbox.onExit().get();
      assertEquals(Reason.CLOSED, exit.reason());
      assertEquals(VmExit.Reason.POWER_OFF, exit.machine().orElseThrow().reason());
      SandboxEndedException ended = afterTheEnd(sandbox);
      assertEquals("The sandbox box was closed", ended.getMessage());
      assertEquals(Reason.CLOSED, ended.exit().reason());
    }
  }

  @Test
  void lifetimeThatIsOverIsTheCause() throws Exception {
    SandboxSpec spec = FakeNacelle.spec().maxLifetime(Duration.ofMillis(1)).build();
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.nacelle.start(spec)) {
      assertEquals(Reason.LIFETIME, sandbox.onExit().get().reason());
      SandboxEndedException ended = afterTheEnd(sandbox);
      assertEquals(Reason.LIFETIME, ended.exit().reason());
      assertTrue(ended.getMessage().contains("lived for its PT0.001S"), ended::getMessage);
      assertFalse(ended.getMessage().contains("Linux version"), ended::getMessage);
    }
  }

  @Test
  void idlenessOfTheGuestIsTheCauseAndACallThatWaitsIsNone() throws Exception {
    SandboxSpec spec = FakeNacelle.spec().idleTimeout(Duration.ofSeconds(5)).build();
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.nacelle.start(spec);
        GuestProcess process = sandbox.start(ProcessSpec.of("hang"))) {
      assertEquals(Reason.IDLE, sandbox.onExit().get().reason());
      SandboxEndedException ended = assertThrows(SandboxEndedException.class, process::waitFor);
      assertEquals(Reason.IDLE, ended.exit().reason());
      assertTrue(afterTheEnd(sandbox).getMessage().contains("was idle for PT5S"));
    }
  }

  @Test
  void processOfASandboxThatHasEndedIsToldNothingWithoutAnError() throws Exception {
    TerminalSize size = new TerminalSize(24, 80);
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start();
        GuestProcess process = sandbox.start(ProcessSpec.builder("hang").terminal(size).build())) {
      fake.machine().endBy(VmExit.Reason.POWER_OFF);
      assertThrows(SandboxEndedException.class, process::waitFor);
      assertThrows(SandboxEndedException.class, () -> process.signal(Signal.TERM));
      assertThrows(SandboxEndedException.class, () -> process.resize(size));
    }
  }

  @Test
  void killingAsksTheGuestForNothing() throws Exception {
    try (FakeNacelle fake = new FakeNacelle(Fault.IGNORES_SHUTDOWN)) {
      Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().stopGrace(HOUR).build());
      GuestProcess process = sandbox.start(ProcessSpec.of("hang"));
      sandbox.kill();
      sandbox.kill();
      assertFalse(sandbox.isAlive());
      SandboxExit exit = sandbox.onExit().get();
      assertEquals(Reason.KILLED, exit.reason());
      assertEquals(VmExit.Reason.CLOSED, exit.machine().orElseThrow().reason());
      assertFalse(fake.machine().askedToShutDown().isDone());
      SandboxEndedException ended = assertThrows(SandboxEndedException.class, process::waitFor);
      assertEquals(Reason.KILLED, ended.exit().reason());
      sandbox.close();
      assertEquals(0, fake.hypervisor.openMachines());
    }
  }

  @Test
  void killingCutsAClosingShortAndTheFirstCauseStays() throws Exception {
    try (FakeNacelle fake = new FakeNacelle(Fault.IGNORES_SHUTDOWN)) {
      Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().stopGrace(HOUR).build());
      CompletableFuture<Void> closing = CompletableFuture.runAsync(sandbox::close);
      fake.machine().askedToShutDown().get();
      sandbox.kill();
      closing.get();
      assertEquals(Reason.CLOSED, sandbox.onExit().get().reason());
    }
  }

  @Test
  void killingFromManyThreadsIsOneEnd() throws Exception {
    try (FakeNacelle fake = new FakeNacelle()) {
      Sandbox sandbox = fake.start();
      List<CompletableFuture<Void>> kills = new ArrayList<>();
      for (int i = 0; i < 16; i++) {
        kills.add(CompletableFuture.runAsync(sandbox::kill));
      }
      kills.forEach(CompletableFuture::join);
      assertEquals(Reason.KILLED, sandbox.onExit().get().reason());
    }
  }

  @Test
  void withoutAGraceTheGuestIsNotEvenAsked() {
    SandboxSpec spec = FakeNacelle.spec().stopGrace(Duration.ZERO).build();
    try (FakeNacelle fake = new FakeNacelle(Fault.IGNORES_SHUTDOWN)) {
      fake.nacelle.start(spec).close();
      assertFalse(fake.machine().askedToShutDown().isDone());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"IGNORES_SHUTDOWN", "NEVER_POWERS_OFF"})
  void guestThatDoesNotShutDownIsEndedAfterTheGrace(Fault fault) throws Exception {
    Duration grace = Duration.ofSeconds(1);
    try (FakeNacelle fake = new FakeNacelle(fault)) {
      Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().stopGrace(grace).build());
      long start = System.nanoTime();
      sandbox.close();
      Duration taken = Duration.ofNanos(System.nanoTime() - start);
      assertEquals(grace, fake.machine().askedToShutDown().getNow(null));
      assertTrue(taken.compareTo(grace) >= 0, () -> "closed after " + taken);
      // The second that the guest has beyond its grace, and several for a machine that is busy.
      assertTrue(taken.compareTo(Duration.ofSeconds(10)) < 0, () -> "closed after " + taken);
      SandboxExit exit = sandbox.onExit().get();
      assertEquals(Reason.CLOSED, exit.reason());
      assertEquals(VmExit.Reason.CLOSED, exit.machine().orElseThrow().reason());
    }
  }

  @Test
  void processThatTheGuestNeverStartsHoldsNobody() throws Exception {
    ProcessSpec spec = ProcessSpec.builder("true").startTimeout(Duration.ofMillis(1)).build();
    try (FakeNacelle fake = new FakeNacelle(Fault.NEVER_STARTS_PROCESSES);
        Sandbox sandbox = fake.start()) {
      long start = System.nanoTime();
      ProcessException e = assertThrows(ProcessException.class, () -> sandbox.start(spec));
      Duration taken = Duration.ofNanos(System.nanoTime() - start);
      // Five seconds for the guest to say so itself, and several for a machine that is busy.
      assertTrue(taken.compareTo(Duration.ofSeconds(20)) < 0, () -> "given up after " + taken);
      assertEquals(ProcessException.Reason.TIMED_OUT, e.reason());
      assertTrue(e.getMessage().contains("did not start in time"), e::getMessage);
      fake.machine().startGivenUp().get();
    }
  }

  @Test
  void exceptionKeepsItsReasonWhenItIsSerialized() throws Exception {
    // As a user's test makes one.
    SandboxEndedException made =
        new SandboxEndedException(
            "gone",
            null,
            SandboxExit.of(Reason.IDLE, "was idle", VmExit.of(VmExit.Reason.CLOSED, "closed")),
            null);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(made);
    }
    var in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()));
    SandboxEndedException read = (SandboxEndedException) in.readObject();
    assertEquals(SandboxExit.of(Reason.IDLE, "was idle"), read.exit());
  }
}
