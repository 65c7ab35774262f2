// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.HeldProcess;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.Signal;
import dev.nacelle.agent.NettyLeaks;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(NettyLeaks.class)
@Timeout(120)
class HeldProcessTest {
  private FakeNacelle fake;
  private Sandbox sandbox;

  @BeforeEach
  void start() {
    fake = new FakeNacelle();
    sandbox = fake.start();
  }

  @AfterEach
  void close() {
    fake.close();
  }

  @Test
  void aHeldProcessRunsWhenItIsReleased() throws Exception {
    try (HeldProcess held = sandbox.hold(ProcessSpec.of("cat"))) {
      assertTrue(held.isAlive());
      assertEquals(sandbox.processes().get(0).pid().orElseThrow(), held.pid());
      GuestProcess process = held.release();
      assertEquals(held.pid(), process.pid());
      process.stdin().write("text".getBytes(StandardCharsets.UTF_8));
      process.stdin().close();
      assertEquals("text", new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8));
      assertEquals(0, process.waitFor().exitCode());
      assertEquals(0, held.onExit().get().exitCode());
      assertThrows(IllegalStateException.class, held::release);
    }
  }

  @Test
  void aProcessWithoutStdinIsReleasedAsWell() throws Exception {
    HeldProcess held = sandbox.hold(ProcessSpec.builder("cat").stdin("given").build());
    byte[] read = held.release().stdout().readAllBytes();
    assertEquals("given", new String(read, StandardCharsets.UTF_8));
    HeldProcess silent = sandbox.hold(ProcessSpec.builder("cat").stdin("").build());
    assertEquals(0, silent.release().waitFor().exitCode());
  }

  @Test
  void aCommandThatIsNotThereIsToldByTheRelease() {
    HeldProcess held = sandbox.hold(ProcessSpec.of("no-such-command"));
    ProcessException failure = assertThrows(ProcessException.class, held::release);
    assertEquals(ProcessException.Reason.COMMAND_NOT_FOUND, failure.reason());
    assertFalse(held.isAlive());
  }

  @Test
  void whatCannotBeMadeIsNotHeld() {
    ProcessSpec spec = ProcessSpec.builder("cat").user("nobody-knows").build();
    ProcessException failure = assertThrows(ProcessException.class, () -> sandbox.hold(spec));
    assertEquals(ProcessException.Reason.UNKNOWN_USER, failure.reason());
  }

  @Test
  void aSignalMayEndItBeforeItRuns() throws Exception {
    HeldProcess held = sandbox.hold(ProcessSpec.of("cat"));
    held.signal(Signal.TERM);
    assertEquals(Optional.of(Signal.TERM), held.onExit().get().signal());
    ProcessException failure = assertThrows(ProcessException.class, held::release);
    assertTrue(
        String.valueOf(failure.getMessage())
            .contains("The process ended before it was released: ended by SIGTERM"),
        failure::toString);
  }

  @Test
  void closingKillsItUnlessItWasReleased() throws Exception {
    HeldProcess held = sandbox.hold(ProcessSpec.of("cat"));
    held.close();
    assertEquals(Optional.of(Signal.KILL), held.onExit().get().signal());
    GuestProcess process;
    try (HeldProcess other = sandbox.hold(ProcessSpec.of("hang"))) {
      process = other.release();
    }
    assertTrue(process.isAlive());
    process.signal(Signal.USR1);
    assertEquals(10, process.waitFor().exitCode());
    fake.machine().agent().awaitProcesses(0);
  }

  @Test
  void itEndsWithItsSandbox() {
    HeldProcess held = sandbox.hold(ProcessSpec.of("cat"));
    CompletableFuture<ExitStatus> exit = held.onExit();
    sandbox.close();
    ExecutionException failure = assertThrows(ExecutionException.class, exit::get);
    assertTrue(failure.getCause() instanceof SandboxEndedException, failure::toString);
    assertThrows(SandboxEndedException.class, held::release);
    assertThrows(SandboxEndedException.class, () -> sandbox.hold(ProcessSpec.of("cat")));
  }

  @Test
  void itsTimeBeginsWithItsRelease() {
    ProcessSpec spec = ProcessSpec.builder("cat").timeout(Duration.ofDays(1)).build();
    HeldProcess held = sandbox.hold(spec);
    assertTrue(held.isAlive());
    assertTrue(held.release().isAlive());
  }
}
