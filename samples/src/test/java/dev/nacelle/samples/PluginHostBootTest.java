// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxExit;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Tenants in real sandboxes. */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class PluginHostBootTest {
  private static final String NOTES =
      """
      import sys
      with open("/notes/all", "a+") as file:
          file.write(sys.stdin.read())
          file.seek(0)
          print(file.read(), end="")
      """;

  private static final String WAITING =
      """
      import os, sys, time
      while not os.path.exists("/tmp/go"):
          time.sleep(0.1)
      print(sys.stdin.read(), end="")
      """;

  private final Nacelle nacelle = Nacelle.create();

  private final PluginHost host =
      new PluginHost(
          nacelle,
          PluginHost.sandbox(SampleImage.reference()).toBuilder()
              .idleTimeout(Duration.ofSeconds(10))
              .build(),
          Duration.ofMinutes(5));

  @AfterEach
  void close() {
    host.close();
    assertEquals(List.of(), nacelle.sandboxes());
  }

  @Test
  void aTenantFindsItsFilesUntilItsSandboxWasIdleAndNeverAnothers() throws Exception {
    assertEquals("milk,", host.call("ada", NOTES, "milk,"));
    Sandbox adas = nacelle.sandboxes().get(0);
    assertEquals("milk,eggs,", host.call("ada", NOTES, "eggs,"));
    assertEquals("nails,", host.call("bob", NOTES, "nails,"));
    assertEquals(SandboxExit.Reason.IDLE, adas.onExit().get(5, TimeUnit.MINUTES).reason());
    assertEquals("bread,", host.call("ada", NOTES, "bread,"));
  }

  @Test
  void aSandboxThatEndsDuringACallIsReplacedAndTheCallAnswered() throws Exception {
    CompletableFuture<String> answer =
        CompletableFuture.supplyAsync(() -> host.call("ada", WAITING, "request"));
    Sandbox first = awaitSandboxThatRunsThePlugin();
    first.kill();
    assertEquals(SandboxExit.Reason.KILLED, first.onExit().get(5, TimeUnit.MINUTES).reason());
    Sandbox second = awaitSandboxThatRunsThePlugin();
    assertNotEquals(first.id(), second.id());
    second.exec("touch", "/tmp/go");
    assertEquals("request", answer.get(5, TimeUnit.MINUTES));
  }

  private Sandbox awaitSandboxThatRunsThePlugin() throws InterruptedException {
    while (true) {
      for (Sandbox sandbox : nacelle.sandboxes()) {
        if (!sandbox.processes().isEmpty()) {
          return sandbox;
        }
      }
      Thread.sleep(100);
    }
  }
}
