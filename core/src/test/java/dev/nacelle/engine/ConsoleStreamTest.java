// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.Sandbox;
import dev.nacelle.SandboxExit.Reason;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.internal.ListenerFailures;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** A sandbox's console as it is written. */
@Timeout(60)
@ExtendWith(NettyLeaks.class)
class ConsoleStreamTest {
  private final BlockingQueue<String> pieces = new LinkedBlockingQueue<>();

  private void add(byte[] piece) {
    pieces.add(new String(piece, StandardCharsets.UTF_8));
  }

  @Test
  void streamHasWhatIsKeptAndThenWhatComesUntilItIsClosed() throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      try (Sandbox.ConsoleStream stream = sandbox.streamConsole(this::add)) {
        assertEquals(sandbox.console(), pieces.take());
        fake.machine().print("oops\n");
        assertEquals("oops\n", pieces.take());
        stream.close();
        fake.machine().print("unheard\n");
      }
      BlockingQueue<String> later = new LinkedBlockingQueue<>();
      try (var unused =
          sandbox.streamConsole(piece -> later.add(new String(piece, StandardCharsets.UTF_8)))) {
        fake.machine().print("end\n");
        while (!later.take().equals("end\n")) {
          // What comes before.
        }
      }
      assertEquals(0, pieces.size());
    }
  }

  @Test
  void whatItSaidLastIsThereAlsoAfterItsEnd() throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      var unusedStream = sandbox.streamConsole(this::add);
      pieces.take();
      fake.machine().panic();
      assertEquals("[    0.5] Kernel panic - not syncing: fake\n", pieces.take());
      sandbox.onExit().get();
      var unusedToo = sandbox.streamConsole(this::add);
      assertEquals(sandbox.console(), pieces.take());
    }
  }

  @Test
  void listenerThatThrowsIsLoggedOnceAndCalledAgain() throws Exception {
    try (ListenerFailures failures = new ListenerFailures();
        FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      var unused =
          sandbox.streamConsole(
              piece -> {
                add(piece);
                throw new StackOverflowError("expected");
              });
      pieces.take();
      fake.machine().print("again");
      assertEquals("again", pieces.take());
      assertEquals("on\n", sandbox.exec("echo", "on").stdout().text());
      assertEquals(List.of("expected"), failures.messages());
    }
  }

  @Test
  void listenerMayKillTheSandbox() throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      CompletableFuture<Void> told = new CompletableFuture<>();
      var unused =
          sandbox.streamConsole(
              piece -> {
                if (new String(piece, StandardCharsets.UTF_8).contains("Oops")) {
                  sandbox.kill();
                  told.complete(null);
                }
              });
      fake.machine().print("Oops: 0000");
      told.get();
      assertEquals(Reason.KILLED, sandbox.onExit().get().reason());
    }
  }
}
