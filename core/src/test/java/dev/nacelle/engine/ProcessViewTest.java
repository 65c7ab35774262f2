// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.GuestProcess;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A guest's process as the JDK's. */
@Timeout(120)
class ProcessViewTest extends SharedSandboxTest {
  @Test
  void readersAndWritersWorkAsWithAnyProcess() throws Exception {
    try (GuestProcess guest = sandbox.start("cat")) {
      Process process = guest.toProcess();
      try (BufferedWriter writer = process.outputWriter();
          BufferedReader reader = process.inputReader()) {
        writer.write("hello\n");
        writer.flush();
        assertEquals("hello", reader.readLine());
        assertEquals(guest.pid(), process.pid());
        assertTrue(process.isAlive());
        assertThrows(IllegalThreadStateException.class, process::exitValue);
        assertFalse(process.waitFor(1, TimeUnit.MILLISECONDS));
        writer.close();
        assertEquals(0, process.waitFor());
        assertTrue(process.waitFor(1, TimeUnit.HOURS));
        assertEquals(0, process.exitValue());
        assertSame(process, process.onExit().get());
        assertEquals(-1, process.getErrorStream().read());
      }
      assertThrows(UnsupportedOperationException.class, process::toHandle);
      // Of no effect on one that has ended.
      process.destroy();
    }
  }

  @Test
  void destroyingSendsSignals() throws Exception {
    try (GuestProcess guest = sandbox.start("hang")) {
      Process process = guest.toProcess();
      assertTrue(process.supportsNormalTermination());
      process.destroy();
      assertEquals(143, process.waitFor());
    }
    try (GuestProcess guest = sandbox.start("hang")) {
      assertEquals(137, guest.toProcess().destroyForcibly().waitFor());
    }
  }

  @Test
  void anInterruptedWaitLeavesTheProcessAlone() {
    try (GuestProcess guest = sandbox.start("hang")) {
      Thread.currentThread().interrupt();
      assertThrows(InterruptedException.class, guest.toProcess()::waitFor);
      assertTrue(guest.isAlive());
    }
  }

  @Test
  void theEndOfTheSandboxIsToldAsItIs() {
    Sandbox own = fake.start();
    Process process = own.start("hang").toProcess();
    own.close();
    assertThrows(SandboxEndedException.class, process::waitFor);
    assertThrows(SandboxEndedException.class, () -> process.waitFor(1, TimeUnit.HOURS));
    assertThrows(SandboxEndedException.class, process::exitValue);
    assertThrows(ExecutionException.class, () -> process.onExit().get());
    process.destroy();
  }
}
