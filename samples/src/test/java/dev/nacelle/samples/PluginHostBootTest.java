// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxExit;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
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
      with open("/tmp/notes", "a+") as file:
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

  /** In the order of their start. */
  private final List<Sandbox> started = new CopyOnWriteArrayList<>();

  private final PluginHost host =
      new PluginHost(
          recording(),
          PluginHost.sandbox(SampleImage.reference()).toBuilder()
              .idleTimeout(Duration.ofSeconds(10))
              .build(),
          Duration.ofMinutes(5));

  /** The runtime, which also tells the test of what it starts. */
  private Nacelle recording() {
    return (Nacelle)
        Proxy.newProxyInstance(
            Nacelle.class.getClassLoader(),
            new Class<?>[] {Nacelle.class},
            (proxy, method, arguments) -> {
              Object result = method.invoke(nacelle, arguments);
              if (result instanceof Sandbox sandbox) {
                started.add(sandbox);
              }
              return result;
            });
  }

  @AfterEach
  void close() throws Exception {
    host.close();
    for (Sandbox sandbox : started) {
      sandbox.onExit().get(1, TimeUnit.MINUTES);
    }
  }

  @Test
  void aTenantFindsItsFilesUntilItsSandboxWasIdleAndNeverAnothers() throws Exception {
    assertEquals("milk,", host.call("ada", NOTES, "milk,"));
    assertEquals("milk,eggs,", host.call("ada", NOTES, "eggs,"));
    assertEquals("nails,", host.call("bob", NOTES, "nails,"));
    Sandbox adas = started.get(0);
    assertEquals(SandboxExit.Reason.IDLE, adas.onExit().get(5, TimeUnit.MINUTES).reason());
    assertEquals("bread,", host.call("ada", NOTES, "bread,"));
    assertEquals(3, started.size());
  }

  @Test
  void aSandboxThatEndsDuringACallIsReplacedAndTheCallAnswered() throws Exception {
    CompletableFuture<String> answer =
        CompletableFuture.supplyAsync(() -> host.call("ada", WAITING, "request"));
    awaitPluginIn(0).kill();
    awaitPluginIn(1).exec("touch", "/tmp/go");
    assertEquals("request", answer.get(5, TimeUnit.MINUTES));
    assertEquals(SandboxExit.Reason.KILLED, started.get(0).onExit().join().reason());
    assertEquals(2, started.size());
  }

  private Sandbox awaitPluginIn(int number) throws InterruptedException {
    while (started.size() <= number || started.get(number).processes().isEmpty()) {
      Thread.sleep(100);
    }
    return started.get(number);
  }
}
