// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.Pause;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.WritableLayer;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a sandbox's processes notice of pauses. */
@Tag("boot")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(value = 20, unit = TimeUnit.MINUTES)
class PauseBootTest {
  private static final int PAUSES = 1000;
  private static final int PIECE = 256 * 1024;

  private Nacelle nacelle;
  private Sandbox sandbox;

  @SuppressWarnings("NullAway.Init") // before all tests
  PauseBootTest() {}

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
    sandbox =
        nacelle.start(
            SandboxSpec.builder()
                .image(TestImages.busybox(directory))
                .kernel("nacelle:6.12")
                .memory(DataSize.mebibytes(160))
                .cpus(2)
                .writableLayer(WritableLayer.onDisk(DataSize.mebibytes(64)))
                .user("0")
                .startTimeout(Duration.ofMinutes(8))
                .build());
  }

  @AfterAll
  void close() {
    nacelle.close();
  }

  /** What a shell does again and again until a file is there: writes, syncs, reads, and hashes. */
  private CompletableFuture<ExecResult> hashing(String name) {
    return sandbox.execAsync(
        "sh",
        "-c",
        "while [ ! -e /tmp/enough ]; do busybox dd if=/dev/zero bs=4096 count=64 2>/dev/null"
            + " | busybox tr '\\0' a | busybox tee /tmp/$0 | busybox sha256sum;"
            + " busybox sync; busybox sha256sum < /tmp/$0; done",
        name);
  }

  /** Sends random bytes through a process of the guest and back, until it is enough. */
  private CompletableFuture<Integer> echoing(CompletableFuture<Void> enough) {
    return CompletableFuture.supplyAsync(
        () -> {
          byte[] sent = new byte[PIECE];
          int rounds = 0;
          for (Random random = new Random(5); !enough.isDone() || rounds == 0; rounds++) {
            random.nextBytes(sent);
            try (GuestProcess cat = sandbox.start("cat")) {
              var unused =
                  CompletableFuture.runAsync(
                      () -> {
                        try (OutputStream stdin = cat.stdin()) {
                          stdin.write(sent);
                        } catch (IOException e) {
                          throw new UncheckedIOException(e);
                        }
                      });
              assertArrayEquals(sent, cat.stdout().readAllBytes());
              assertEquals(0, cat.waitFor().exitCode());
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          }
          return rounds;
        });
  }

  @Test
  void aThousandRandomPausesUnderLoadChangeNoResult() throws Exception {
    byte[] content = new byte[PIECE];
    Arrays.fill(content, (byte) 'a');
    String expected =
        HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    List<CompletableFuture<ExecResult>> hashing = List.of(hashing("one"), hashing("two"));
    CompletableFuture<Void> enough = new CompletableFuture<>();
    CompletableFuture<Integer> echoing = echoing(enough);
    Random random = new Random(11);
    for (int i = 0; i < PAUSES; i++) {
      try (Pause unused = sandbox.pause()) {
        LockSupport.parkNanos(random.nextInt(2_000_000));
      }
      LockSupport.parkNanos(random.nextInt(5_000_000));
    }
    enough.complete(null);
    assertTrue(echoing.get() > 0);
    sandbox.exec("sh", "-c", "> /tmp/enough").orThrow();
    for (CompletableFuture<ExecResult> outcome : hashing) {
      ExecResult result = outcome.get();
      assertEquals(0, result.exitCode(), result::toString);
      List<String> lines = result.stdout().text().lines().toList();
      assertTrue(lines.size() >= 2, result::toString);
      lines.forEach(line -> assertEquals(expected + "  -", line));
    }
    assertTrue(sandbox.isAlive());
  }

  private double uptime() {
    String[] words = sandbox.exec("cat", "/proc/uptime").orThrow().stdout().text().split(" ");
    return Double.parseDouble(words[0]);
  }

  @Test
  void processesHaveTheirTimeWithoutThePause() throws Exception {
    long start = System.nanoTime();
    double before = uptime();
    CompletableFuture<ExecResult> timed =
        sandbox.execAsync(
            ProcessSpec.builder("busybox", "sleep", "4").timeout(Duration.ofSeconds(12)).build());
    // Soon after its start, at the latest.
    double running = uptime();
    long pause;
    try (Pause unused = sandbox.pause()) {
      long paused = System.nanoTime();
      Thread.sleep(20_000);
      pause = System.nanoTime() - paused;
    }
    ExecResult result = timed.get();
    assertFalse(result.status().timedOut(), result::toString);
    assertEquals(0, result.exitCode());
    double passed = uptime() - before;
    double onHost = (System.nanoTime() - start) / 1e9;
    assertTrue(
        passed <= onHost - pause / 1e9 + 2,
        () -> passed + " s of " + onHost + ", of which " + pause / 1e9 + " paused; " + running);
  }

  @Test
  void theWallClockIsTheHostsAfterwards() throws Exception {
    try (Pause unused = sandbox.pause()) {
      Thread.sleep(10_000);
    }
    long behind = Long.MAX_VALUE;
    // It is set while the guest goes on.
    for (int i = 0; i < 20 && behind > 5; i++) {
      long host = System.currentTimeMillis() / 1000;
      behind =
          host - Long.parseLong(sandbox.exec("busybox", "date", "+%s").stdout().text().strip());
    }
    assertTrue(behind <= 5, behind + " s behind");
  }
}
