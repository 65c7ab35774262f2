// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.GuestIOException;
import dev.nacelle.GuestProcess;
import dev.nacelle.GuestProcessInfo;
import dev.nacelle.OnLimit;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.Signal;
import dev.nacelle.agent.NettyLeaks;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.OptionalLong;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Processes that nobody holds. */
@ExtendWith(NettyLeaks.class)
@Timeout(120)
class DetachedProcessTest extends SharedSandboxTest {
  private static void say(GuestProcess process, String text) throws IOException {
    process.stdin().write(text.getBytes(UTF_8));
  }

  private static String read(GuestProcess process, int bytes) throws IOException {
    return new String(process.stdout().readNBytes(bytes), UTF_8);
  }

  @Test
  void aProcessOutlivesWhoIsAttachedToItAndItsRecentOutputIsThereAgain() throws Exception {
    GuestProcessInfo info = sandbox.startDetached("cat");
    try (GuestProcess first = sandbox.attach(info.id())) {
      assertEquals(info.pid(), OptionalLong.of(first.pid()));
      say(first, "one\n");
      assertEquals("one\n", read(first, 4));
    }
    assertTrue(
        sandbox.processes().stream()
            .anyMatch(process -> process.id() == info.id() && process.running()));
    try (GuestProcess second = sandbox.attach(info.id())) {
      assertTrue(second.isAlive());
      assertEquals("one\n", read(second, 4));
      say(second, "two\n");
      assertEquals("two\n", read(second, 4));
      second.stdin().close();
      assertEquals(0, second.waitFor().exitCode());
      assertEquals(-1, second.stdout().read());
    }
    // It has ended, and can be looked at all the same.
    try (GuestProcess third = sandbox.attach(info.id())) {
      assertFalse(third.isAlive());
      assertEquals("one\ntwo\n", new String(third.stdout().readAllBytes(), UTF_8));
      assertEquals(0, third.waitFor().exitCode());
      assertThrows(IOException.class, () -> say(third, "three"));
    }
  }

  @Test
  void nobodyHasToReadWhatItWrites() throws Exception {
    GuestProcessInfo info = sandbox.startDetached("flood", "4");
    while (sandbox.processes().stream().anyMatch(process -> process.id() == info.id())) {
      Thread.onSpinWait();
    }
    // Until its output has arrived here, too: it waits for nobody who does not read.
    try (GuestProcess process = sandbox.attach(info.id())) {
      process.stdout().close();
      process.stderr().close();
      assertEquals(0, process.waitFor().exitCode());
    }
    try (GuestProcess process = sandbox.attach(info.id())) {
      assertEquals(RecentOutput.CAPACITY, process.stdout().readAllBytes().length);
      assertEquals(RecentOutput.CAPACITY, process.stderr().readAllBytes().length);
    }
  }

  @Test
  void itWaitsForWhoIsAttachedAndReadsAndForNobodyElse() throws Exception {
    byte[] content = new byte[4 << 20];
    new Random(3).nextBytes(content);
    ProcessSpec spec = ProcessSpec.builder("cat").stdin(content).build();
    GuestProcessInfo whole = sandbox.startDetached("cat");
    try (GuestProcess process = sandbox.attach(whole.id())) {
      Thread writer =
          new Thread(
              () -> {
                try {
                  process.stdin().write(content);
                  process.stdin().close();
                } catch (IOException e) {
                  throw new IllegalStateException(e);
                }
              });
      writer.start();
      assertArrayEquals(content, process.stdout().readAllBytes());
      writer.join();
    }
    // Who is attached and does not read holds it up, until it lets go.
    GuestProcessInfo stuck = sandbox.startDetached(spec);
    GuestProcess idle = sandbox.attach(stuck.id());
    assertTrue(idle.isAlive() || idle.waitFor().exitCode() == 0);
    idle.close();
    try (GuestProcess after = sandbox.attach(stuck.id())) {
      after.stdout().readAllBytes();
      assertEquals(0, after.waitFor().exitCode());
    }
  }

  @Test
  void theLastWhoAttachesHasIt() throws Exception {
    GuestProcessInfo info = sandbox.startDetached("cat");
    GuestProcess first = sandbox.attach(info.id());
    try (GuestProcess second = sandbox.attach(info.id())) {
      assertThrows(GuestIOException.class, () -> first.stdout().read());
      // Of no effect on who has it now.
      first.close();
      say(second, "mine\n");
      assertEquals("mine\n", read(second, 5));
      assertEquals(Signal.TERM, second.stop(Duration.ofHours(1)).signal().orElseThrow());
    }
  }

  @Test
  void whatIsNotThereOrWasNotDetachedCannotBeAttachedTo() {
    try (GuestProcess process = sandbox.start("hang")) {
      long id =
          sandbox.processes().stream()
              .filter(info -> info.pid().orElse(0) == process.pid())
              .findFirst()
              .orElseThrow()
              .id();
      for (long other : new long[] {id, 0, -1, Long.MAX_VALUE}) {
        ProcessException e = assertThrows(ProcessException.class, () -> sandbox.attach(other));
        assertEquals(ProcessException.Reason.NOT_FOUND, e.reason());
      }
    }
    ProcessException e =
        assertThrows(ProcessException.class, () -> sandbox.startDetached("nosuch"));
    assertEquals(ProcessException.Reason.COMMAND_NOT_FOUND, e.reason());
  }

  @Test
  void onlyTheLastThatEndedAreKept() {
    try (Sandbox own = fake.start()) {
      long first = own.startDetached("true").id();
      own.attach(first).waitFor();
      for (int i = 0; i < DetachedProcesses.KEPT; i++) {
        own.attach(own.startDetached("true").id()).waitFor();
      }
      assertThrows(ProcessException.class, () -> own.attach(first));
    }
  }

  @Test
  void theLimitOfOutputHoldsAndIsTold() throws Exception {
    ProcessSpec spec =
        ProcessSpec.builder("flood", "64")
            .outputLimit(DataSize.kibibytes(10), OnLimit.KILL)
            .build();
    try (GuestProcess process = sandbox.attach(sandbox.startDetached(spec).id())) {
      assertTrue(process.waitFor().outputTruncated());
      assertEquals(10 * 1024, process.stdout().readAllBytes().length);
    }
  }

  @Test
  void itEndsWithTheSandbox() {
    Sandbox own = fake.start();
    GuestProcessInfo info = own.startDetached("hang");
    GuestProcess attached = own.attach(info.id());
    own.close();
    assertThrows(SandboxEndedException.class, attached::waitFor);
    assertThrows(IOException.class, () -> attached.stdout().read());
    assertThrows(SandboxEndedException.class, () -> own.attach(info.id()));
    assertThrows(SandboxEndedException.class, () -> own.startDetached("true"));
  }

  @Test
  void theEndOfAnOutputIsKeptHoweverItComes() {
    Random random = new Random(4);
    for (int round = 0; round < 50; round++) {
      RecentOutput recent = new RecentOutput();
      byte[] all = new byte[random.nextInt(4 * RecentOutput.CAPACITY)];
      random.nextBytes(all);
      int at = 0;
      while (at < all.length) {
        int most = random.nextBoolean() ? 100 : 2 * RecentOutput.CAPACITY;
        int count = Math.min(all.length - at, 1 + random.nextInt(most));
        ByteBuffer bytes = ByteBuffer.wrap(all, at, count);
        recent.add(bytes);
        assertEquals(count, bytes.remaining());
        at += count;
      }
      int kept = Math.min(all.length, RecentOutput.CAPACITY);
      assertArrayEquals(Arrays.copyOfRange(all, all.length - kept, all.length), recent.bytes());
    }
  }
}
