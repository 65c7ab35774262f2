// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Pause;
import dev.nacelle.RateLimit;
import dev.nacelle.RateLimits;
import dev.nacelle.Unikernel;
import dev.nacelle.UnikernelExit;
import dev.nacelle.UnikernelSpec;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.spi.VmSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The life of a unikernel; what one does is tested where there are real machines. */
@Timeout(60)
class UnikernelTest {
  private static UnikernelSpec.Builder spec() {
    return UnikernelSpec.builder().image(Path.of("/fake/image"));
  }

  @Test
  void machineIsMadeAsSpecified() {
    try (FakeNacelle fake = new FakeNacelle();
        Unikernel unikernel =
            fake.nacelle.startUnikernel(
                spec()
                    .commandLine("one two")
                    .memory(DataSize.bytes((3 << 20) - 4000))
                    .cpus(2)
                    .rateLimits(RateLimits.NONE.withEntropy(RateLimit.operations(7)))
                    .coreScheduling(false)
                    .name("uk")
                    .build())) {
      VmSpec machine = fake.machine().spec();
      VmSpec.Bare bare = (VmSpec.Bare) machine.guest();
      assertEquals(Path.of("/fake/image"), bare.image());
      assertEquals("one two", bare.commandLine());
      assertEquals(DataSize.mebibytes(3), machine.memory());
      assertEquals(2, machine.cpus());
      assertEquals(RateLimits.NONE.withEntropy(RateLimit.operations(7)), machine.rateLimits());
      assertFalse(machine.coreScheduling());
      assertEquals("uk", machine.name());
      assertEquals("uk", unikernel.name());
    }
  }

  @Test
  void endOfTheGuestReleasesEverything() {
    try (FakeNacelle fake = new FakeNacelle()) {
      Unikernel unikernel = fake.nacelle.startUnikernel(spec().build());
      assertTrue(unikernel.isAlive());
      assertEquals(Optional.empty(), unikernel.waitFor(Duration.ofMillis(1)));
      fake.machine().panic();
      UnikernelExit exit = unikernel.waitFor();
      assertEquals(Optional.of(exit), unikernel.waitFor(Duration.ZERO));
      assertFalse(unikernel.isAlive());
      assertEquals(Reason.RESET, exit.machine().reason());
      assertFalse(exit.timedOut());
      assertEquals(0, fake.hypervisor.openMachines());
    }
  }

  @Test
  void deadlineEndsIt() {
    try (FakeNacelle fake = new FakeNacelle()) {
      UnikernelExit exit =
          fake.nacelle.startUnikernel(spec().timeout(Duration.ofMillis(20)).build()).waitFor();
      assertTrue(exit.timedOut());
      assertEquals(Reason.CLOSED, exit.machine().reason());
    }
  }

  @Test
  void itsTimeDoesNotCountAPause() throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Unikernel unikernel =
            fake.nacelle.startUnikernel(spec().timeout(Duration.ofSeconds(4)).build())) {
      Pause first = unikernel.pause();
      Pause second = unikernel.pause("to look at it");
      assertTrue(fake.machine().isPaused());
      assertEquals(List.of("user", "to look at it"), unikernel.pauses());
      first.close();
      assertEquals(Optional.empty(), unikernel.waitFor(Duration.ofMillis(4200)));
      second.close();
      assertFalse(fake.machine().isPaused());
      assertTrue(unikernel.waitFor().timedOut());
      assertEquals(List.of(), unikernel.pauses());
      assertThrows(IllegalStateException.class, unikernel::pause);
    }
  }

  @Test
  void isClosedAtOnceWhilePaused() {
    try (FakeNacelle fake = new FakeNacelle()) {
      Unikernel unikernel = fake.nacelle.startUnikernel(spec().build());
      Pause pause = unikernel.pause();
      unikernel.close();
      assertEquals(Reason.CLOSED, unikernel.waitFor().machine().reason());
      pause.close();
    }
  }

  @Test
  void listenerOfItsConsoleMayCloseIt() {
    try (FakeNacelle fake = new FakeNacelle()) {
      CompletableFuture<Unikernel> self = new CompletableFuture<>();
      Unikernel unikernel =
          fake.nacelle.startUnikernel(spec().console(bytes -> self.join().close()).build());
      self.complete(unikernel);
      fake.machine().print("done");
      assertEquals(Reason.CLOSED, unikernel.waitFor().machine().reason());
    }
  }

  @Test
  void failureOfTheMachinesStartOrEndLeavesNothing() {
    try (FakeNacelle fake = new FakeNacelle(Fault.START_FAILS)) {
      assertThrows(OutOfMemoryError.class, () -> fake.nacelle.startUnikernel(spec().build()));
      assertEquals(0, fake.hypervisor.openMachines());
    }
    try (FakeNacelle fake = new FakeNacelle(Fault.CLOSE_FAILS)) {
      Unikernel unikernel = fake.nacelle.startUnikernel(spec().build());
      unikernel.close();
      assertEquals(Reason.CLOSED, unikernel.waitFor().machine().reason());
    }
  }

  @Test
  void dependentsOfItsEndMayCloseTheRuntime() throws Exception {
    FakeNacelle fake = new FakeNacelle();
    Unikernel unikernel = fake.nacelle.startUnikernel(spec().build());
    CompletableFuture<Void> closed = unikernel.onExit().thenRun(fake::close);
    unikernel.close();
    closed.get();
    assertThrows(IllegalStateException.class, () -> fake.nacelle.startUnikernel(spec().build()));
  }

  @Test
  void waitingCanBeInterruptedAndItRunsOn() {
    try (FakeNacelle fake = new FakeNacelle();
        Unikernel unikernel = fake.nacelle.startUnikernel(spec().build())) {
      Thread.currentThread().interrupt();
      assertThrows(InterruptedOperationException.class, unikernel::waitFor);
      assertTrue(Thread.interrupted());
      assertFalse(unikernel.onExit().isDone());
    }
  }

  @Test
  void failureOfTheHypervisorReachesTheCaller() {
    try (FakeNacelle fake = new FakeNacelle(Fault.CREATE_FAILS)) {
      assertThrows(HypervisorException.class, () -> fake.nacelle.startUnikernel(spec().build()));
    }
  }
}
