// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a process reads and writes is whole, however much it is and however it is cut, and what it
 * does not read harms nobody. How much goes each way, the system property {@code
 * nacelle.streamMebibytes} says.
 */
@Tag("boot")
@Timeout(9000)
class StreamsBootTest {
  private static final long TOTAL = Long.getLong("nacelle.streamMebibytes", 16L) << 20;

  /** Around the messages, windows and pipes on the way, and nothing of theirs. */
  private static final int[] PIECES = {
    1, 9, 4095, 16_383, 65_527, 65_536, 65_545, 131_090, 261_613
  };

  @Test
  void muchGoesEachWayWholeAndLittleWaits(@TempDir Path directory) throws Exception {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(TestImages.busybox(directory))
            .kernel("nacelle:6.12")
            .startTimeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      assertThatMuchGoesEachWayWhole(sandbox);
      assertThatSingleBytesWhichNobodyReadsHoldUpNobody(sandbox);
    }
  }

  private static void assertThatMuchGoesEachWayWhole(Sandbox sandbox) throws Exception {
    try (GuestProcess cat = sandbox.start("cat")) {
      CompletableFuture<Long> sent = CompletableFuture.supplyAsync(() -> send(cat.stdin()));
      CRC32 received = new CRC32();
      byte[] buffer = new byte[99_991];
      long count = 0;
      try (InputStream stdout = cat.stdout()) {
        for (int read = stdout.read(buffer); read >= 0; read = stdout.read(buffer)) {
          received.update(buffer, 0, read);
          count += read;
        }
      }
      assertEquals(TOTAL, count);
      assertEquals(sent.join(), received.getValue());
      assertEquals(0, cat.waitFor().exitCode());
    }
  }

  /** Returns the checksum of what it wrote. */
  private static long send(OutputStream stdin) {
    // Not as long as anything else, so that what comes twice, or in another order, shows.
    byte[] content = new byte[1_000_003];
    new Random(7).nextBytes(content);
    CRC32 sent = new CRC32();
    try (stdin) {
      int from = 0;
      long left = TOTAL;
      for (int i = 0; left > 0; i++) {
        int most = Math.min(PIECES[i % PIECES.length], content.length - from);
        int length = (int) Math.min(most, left);
        stdin.write(content, from, length);
        sent.update(content, from, length);
        from = (from + length) % content.length;
        left -= length;
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return sent.getValue();
  }

  private static void assertThatSingleBytesWhichNobodyReadsHoldUpNobody(Sandbox sandbox)
      throws Exception {
    List<GuestProcess> deaf = new ArrayList<>();
    List<Thread> writers = new ArrayList<>();
    // Which its pipe has room for; then a few hundred bytes wait, here and there.
    byte[] pipe = new byte[64 << 10];
    for (int i = 0; i < 20; i++) {
      GuestProcess process = sandbox.start("sleep", "86411");
      process.stdin().write(pipe);
      Thread writer = new Thread(() -> writeSingleBytes(process.stdin()));
      writer.start();
      deaf.add(process);
      writers.add(writer);
    }
    long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(10);
    for (int still = 0; still < 5; ) {
      assertTrue(
          System.nanoTime() < end, () -> writers.stream().map(Thread::getState).toList() + "");
      Thread.sleep(50);
      boolean all = writers.stream().allMatch(one -> one.getState() == Thread.State.WAITING);
      still = all ? still + 1 : 0;
    }
    assertEquals("still\n", sandbox.exec("echo", "still").stdout().text());
    deaf.forEach(GuestProcess::close);
    for (Thread writer : writers) {
      writer.join();
    }
  }

  /** Until the process has ended. */
  private static void writeSingleBytes(OutputStream stdin) {
    try {
      while (true) {
        stdin.write(1);
        stdin.flush();
      }
    } catch (IOException e) {
      // It has ended.
    }
  }
}
