// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.GuestProcess;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.TestImages;
import dev.nacelle.WritableLayer;
import dev.nacelle.image.ImageRef;
import dev.nacelle.internal.Baseline;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryUsage;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Sandboxes are started, used and closed again and again in one process, which at the end holds
 * what it held before. How often, the system property {@code nacelle.cycles} says.
 */
@Tag("boot")
@Timeout(9000)
class CyclesBootTest {
  private static final int CYCLES = Integer.getInteger("nacelle.cycles", 6);

  /** What is made once, or the first times: classes, compiled code, pools, pages of the heap. */
  private static final int WARM_UP = Math.max(5, CYCLES / 10);

  /**
   * What this process takes.
   *
   * @param mappings lines of /proc/self/maps
   * @param temporary files in the directory for what is temporary
   * @param residentKib memory, of which the heap is part
   * @param heapKib what lives on the heap
   * @param heapCommittedKib what the heap takes of the resident memory, or less where a part was
   *     never touched
   */
  private record Taken(
      long threads,
      long descriptors,
      long mappings,
      long temporary,
      long residentKib,
      long heapKib,
      long heapCommittedKib) {
    static Taken now(Path scratch) throws IOException {
      MemoryUsage heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage();
      return new Taken(
          entries(Path.of("/proc/self/task")),
          entries(Path.of("/proc/self/fd")),
          Files.readAllLines(Path.of("/proc/self/maps")).size(),
          entries(scratch),
          kib("VmRSS"),
          heap.getUsed() >> 10,
          heap.getCommitted() >> 10);
    }

    private static long entries(Path directory) throws IOException {
      if (Files.notExists(directory)) {
        return 0;
      }
      try (Stream<Path> entries = Files.list(directory)) {
        return entries.count();
      }
    }

    private static long kib(String name) throws IOException {
      return Files.readAllLines(Path.of("/proc/self/status")).stream()
          .filter(line -> line.startsWith(name + ":"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D+", "")))
          .findFirst()
          .orElseThrow();
    }
  }

  @Test
  void cyclesLeaveNothing(@TempDir Path directory) throws Exception {
    ImageRef image = TestImages.busybox(directory.resolve("image"));
    Path scratch = directory.resolve("scratch");
    try (Nacelle nacelle =
        Nacelle.builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(scratch).build()) {
      for (int i = 0; i < WARM_UP; i++) {
        use(nacelle, image, i);
      }
      Taken before = settled(scratch);
      Baseline files = Baseline.now(TestKernels.CACHE, scratch);
      System.out.printf("%nafter %d: %s%n", WARM_UP, before);
      for (int i = 0; i < CYCLES; i++) {
        use(nacelle, image, i);
        if ((i + 1) % 100 == 0) {
          System.out.printf("%d more: %s%n", i + 1, settled(scratch));
        }
      }
      files.assertFilesAsBefore();
      Taken after = settled(scratch);
      System.out.printf("%d more: %s%n", CYCLES, after);
      assertEquals(before.temporary, after.temporary);
      // The JVM has some of its own that come and go: of its compiler, of its memory.
      assertTrue(after.threads <= before.threads + 4, () -> before + " then " + after);
      assertTrue(after.descriptors <= before.descriptors + 4, () -> before + " then " + after);
      assertTrue(after.mappings <= before.mappings + 40, () -> before + " then " + after);
      // A tenth of what a guest has, however many there were.
      assertTrue(
          after.residentKib <= before.residentKib + 48 * 1024, () -> before + " then " + after);
      // What a cycle leaves behind without a descriptor or a thread, it leaves here.
      assertTrue(after.heapKib <= before.heapKib + 4096, () -> before + " then " + after);
    }
  }

  /** When the worker threads have ended, which wait for ten seconds, and garbage is collected. */
  private static Taken settled(Path scratch) throws Exception {
    System.gc();
    Thread.sleep(12_000);
    System.gc();
    return Taken.now(scratch);
  }

  /** Every way to use one, by turns: with memory and on disk, asked to end, killed, and left. */
  private static void use(Nacelle nacelle, ImageRef image, int round) throws IOException {
    SandboxSpec.Builder spec =
        SandboxSpec.builder()
            .image(image)
            .kernel("nacelle:6.12")
            .memory(DataSize.mebibytes(96))
            .user("0")
            .stopGrace(Duration.ofSeconds(10))
            .startTimeout(Duration.ofMinutes(8));
    if (round % 2 == 0) {
      spec.writableLayer(WritableLayer.onDisk(DataSize.mebibytes(16)));
      spec.memoryPolicy(MemoryPolicy.DENSITY);
    }
    try (Sandbox sandbox = nacelle.start(spec.build())) {
      assertEquals("used\n", sandbox.exec("echo", "used").stdout().text());
      sandbox.files().write("/tmp/file", "content".getBytes(StandardCharsets.UTF_8));
      assertEquals(7, sandbox.files().read("/tmp/file").length);
      try (GuestProcess cat = sandbox.start("cat")) {
        cat.stdin().write(new byte[100_000]);
        assertEquals(100_000, cat.stdout().readNBytes(100_000).length);
        if (round % 3 == 0) {
          cat.signal(Signal.TERM);
          cat.waitFor();
        }
      }
      try (Sandbox.StatisticsStream unused =
          sandbox.streamGuestStatistics(Duration.ofSeconds(1), reading -> {})) {
        assertTrue(sandbox.guestStatistics().processes().isPresent());
      }
      sandbox.pause().close();
      if (round % 4 == 1) {
        sandbox.kill();
      } else if (round % 4 == 2) {
        GuestProcess unused = sandbox.start("sleep", "86400");
      }
    }
  }
}
