// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.BootException;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxExit.Reason;
import dev.nacelle.VmExit;
import dev.nacelle.WaitingCalls;
import dev.nacelle.agent.FakeFiles;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeMachine;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Each way to die, while every call waits: one outcome for all of them, and none hangs. */
@ExtendWith(NettyLeaks.class)
@Timeout(120)
class SandboxDeathTest {
  private static final int PORT = 5000;
  private static final Duration LONG = Duration.ofMinutes(5);
  private static final Duration SHORT = Duration.ofMillis(2500);

  /** How a sandbox ends, and why it then has ended. */
  private enum Death {
    POWER_OFF(Reason.GUEST_ENDED),
    PANIC(Reason.GUEST_CRASHED),
    TRIPLE_FAULT(Reason.GUEST_CRASHED),
    BROKEN_DEVICE_RULE(Reason.GUEST_CRASHED),
    HOST_ERROR(Reason.HOST_FAILED),
    LOST_AGENT(Reason.CONNECTION_LOST),
    LOST_SOCKET_DEVICE(Reason.CONNECTION_LOST),
    WEDGED(Reason.CONNECTION_LOST),
    WEDGED_AND_PAUSED_AGAIN_AND_AGAIN(Reason.CONNECTION_LOST),
    ENDED_WHILE_PAUSED(Reason.GUEST_CRASHED),
    CLOSED(Reason.CLOSED),
    KILLED(Reason.KILLED),
    CLOSED_WHILE_PAUSED(Reason.CLOSED),
    CLOSED_WITH_NACELLE(Reason.CLOSED);

    private final Reason reason;

    Death(Reason reason) {
      this.reason = reason;
    }

    boolean isTheGuestsFault() {
      return switch (reason) {
        case GUEST_ENDED, GUEST_CRASHED, CONNECTION_LOST -> true;
        default -> false;
      };
    }

    void strike(FakeNacelle fake, Sandbox sandbox) {
      FakeMachine machine = fake.machine();
      switch (this) {
        case POWER_OFF -> machine.endBy(VmExit.Reason.POWER_OFF);
        case PANIC -> machine.panic();
        case TRIPLE_FAULT -> machine.endBy(VmExit.Reason.CRASHED);
        case BROKEN_DEVICE_RULE -> machine.endBy(VmExit.Reason.GUEST_FAULT);
        case HOST_ERROR -> machine.endBy(VmExit.Reason.HOST_ERROR);
        case LOST_AGENT -> machine.hangUp();
        case LOST_SOCKET_DEVICE -> machine.loseConnections();
        case WEDGED -> machine.wedge();
        case WEDGED_AND_PAUSED_AGAIN_AND_AGAIN -> {
          while (sandbox.isAlive()) {
            // Most of the time it runs, and the rest does not count.
            LockSupport.parkNanos(20_000_000);
            try {
              sandbox.pause().close();
            } catch (SandboxEndedException e) {
              // Meanwhile.
            }
          }
        }
        case ENDED_WHILE_PAUSED -> {
          sandbox.pause();
          machine.endBy(VmExit.Reason.CRASHED);
        }
        case CLOSED -> sandbox.close();
        case KILLED -> sandbox.kill();
        case CLOSED_WHILE_PAUSED -> {
          sandbox.pause();
          sandbox.close();
        }
        case CLOSED_WITH_NACELLE -> fake.nacelle.close();
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Death.class)
  void everyCallThatWaitsIsToldTheSame(Death death, @TempDir Path directory) throws Exception {
    BlockingQueue<SandboxEvent> events = new LinkedBlockingQueue<>();
    boolean wedged = death.name().startsWith("WEDGED");
    try (FakeNacelle fake = new FakeNacelle(events::add, wedged ? SHORT : LONG);
        Sandbox sandbox = fake.start()) {
      FakeMachine machine = fake.machine();
      machine.listenInGuest(PORT, connection -> {});
      WaitingCalls.Guest guest =
          new WaitingCalls.Guest(
              List.of("hang"),
              FakeFiles.ENDLESS,
              PORT,
              FakeMachine.SILENT_PORT,
              Duration.ofMillis(50));
      try (WaitingCalls calls =
          WaitingCalls.begin(sandbox, guest, directory, () -> machine.deafen(!wedged))) {
        CompletableFuture<SandboxExit> exit = sandbox.onExit();
        death.strike(fake, sandbox);
        SandboxExit told = exit.get(1, TimeUnit.MINUTES);
        assertEquals(death.reason, told.reason(), told::toString);
        calls.assertEnded(told, death.isTheGuestsFault() ? "Linux version" : null);
        SandboxEvent last = events.take();
        while (!(last instanceof SandboxEvent.Ended)) {
          last = events.take();
        }
        assertEquals(told, ((SandboxEvent.Ended) last).exit());
        assertTrue(events.isEmpty(), events::toString);
      }
    }
  }

  /** A guest may die at any moment of its start, and just after it. */
  @RepeatedTest(20)
  void readinessRacesDeath() throws Exception {
    Random random = new Random();
    try (FakeNacelle fake = new FakeNacelle()) {
      CompletableFuture<Sandbox> starting = fake.nacelle.startAsync(FakeNacelle.spec().build());
      while (fake.hypervisor.machines().isEmpty()) {
        Thread.onSpinWait();
      }
      LockSupport.parkNanos(random.nextInt(20_000_000));
      fake.machine().panic();
      try (Sandbox sandbox = starting.get(1, TimeUnit.MINUTES)) {
        assertEquals(Reason.GUEST_CRASHED, sandbox.onExit().get(1, TimeUnit.MINUTES).reason());
      } catch (ExecutionException e) {
        BootException failure = (BootException) e.getCause();
        assertEquals(VmExit.Reason.RESET, failure.machine().orElseThrow().reason());
        assertTrue(failure.console().contains("Kernel panic"), failure::toString);
      }
    }
  }

  @Test
  void endIsNotLostWhereTheHostGivesNoThreadForIt() throws Exception {
    AtomicInteger refusals = new AtomicInteger(3);
    try (Workers workers =
        new Workers(
            (task, delay) ->
                CompletableFuture.runAsync(
                    task,
                    CompletableFuture.delayedExecutor(delay.toMillis(), TimeUnit.MILLISECONDS)),
            thread -> {
              if (refusals.getAndDecrement() > 0) {
                throw new OutOfMemoryError("unable to create native thread");
              }
              return thread;
            })) {
      CompletableFuture<Thread> ran = new CompletableFuture<>();
      workers.executePatiently(() -> ran.complete(Thread.currentThread()));
      assertTrue(ran.get(1, TimeUnit.MINUTES).getName().startsWith("nacelle-worker-"));
    }
  }
}
