// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.WritableLayer;
import dev.nacelle.kernel.store.TestKernels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a guest does not use is the host's again, by what this process takes of it. */
@Tag("boot")
@Timeout(value = 20, unit = TimeUnit.MINUTES)
class MemoryGivenBackBootTest {
  private static final int MEMORY = 256;
  private static final int USED = 96;

  @TempDir Path directory;

  private SandboxSpec.Builder spec(String kernel) throws Exception {
    return SandboxSpec.builder()
        .image(TestImages.busybox(directory))
        .kernel(kernel)
        .memory(DataSize.mebibytes(MEMORY))
        .memoryPolicy(MemoryPolicy.DENSITY)
        .writableLayer(WritableLayer.inMemory(DataSize.mebibytes(120)))
        .user("0")
        .startTimeout(Duration.ofMinutes(8));
  }

  /** What this process has of the host's memory, in MiB, after garbage was collected. */
  private static long resident() throws Exception {
    System.gc();
    String status = Files.readString(Path.of("/proc/self/status"));
    String anonymous =
        status.lines().filter(line -> line.startsWith("RssAnon:")).findFirst().orElseThrow();
    return Long.parseLong(anonymous.replaceAll("[^0-9]", "")) / 1024;
  }

  private static void awaitResidentBelow(long mebibytes) throws Exception {
    // The kernel looks for what is free every two seconds.
    for (long now = resident(); now >= mebibytes; now = resident()) {
      Thread.sleep(500);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"nacelle:6.12", "nacelle:6.1", "debian:6.1"})
  void whatWasFreedGoesBackByItself(String kernel) throws Exception {
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec(kernel).build())) {
      long before = resident();
      fill(sandbox);
      long used = resident();
      assertTrue(used - before > USED * 3 / 4, used + " MiB after " + before);
      sandbox.exec("busybox", "rm", "/tmp/fill").orThrow();
      awaitResidentBelow(used - USED / 2);
      fill(sandbox);
      assertTrue(resident() - before > USED * 3 / 4, "it can be used again");
    }
  }

  /** In memory, where the writable layer is. */
  private static void fill(Sandbox sandbox) {
    sandbox
        .exec(
            "sh",
            "-c",
            "busybox dd if=/dev/zero bs=1M count=" + USED + " | busybox tr '\\0' a > /tmp/fill")
        .orThrow();
  }

  @ParameterizedTest
  @ValueSource(strings = {"nacelle:6.12", "nacelle:6.1", "debian:6.1"})
  void memoryIsResizedWhileItRuns(String kernel) throws Exception {
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec(kernel).build())) {
      DataSize all = DataSize.mebibytes(MEMORY);
      DataSize less = DataSize.mebibytes(128);
      assertEquals(all, sandbox.memory());
      sandbox.setMemory(less);
      awaitMemory(sandbox, less);
      assertTrue(free(sandbox) < 128 * 1024, "KiB free: " + free(sandbox));
      assertEquals("on\n", sandbox.exec("echo", "on").stdout().text());

      // More than it was left: it takes back what it needs.
      fill(sandbox);
      assertTrue(sandbox.memory().compareTo(less) > 0, () -> "deflated: " + sandbox.memory());
      sandbox.exec("busybox", "rm", "/tmp/fill").orThrow();

      sandbox.setMemory(all);
      awaitMemory(sandbox, all);
      assertTrue(free(sandbox) > 128 * 1024, "KiB free: " + free(sandbox));
      assertThrows(
          IllegalArgumentException.class, () -> sandbox.setMemory(DataSize.mebibytes(MEMORY + 1)));
    }
  }

  private static void awaitMemory(Sandbox sandbox, DataSize size) throws Exception {
    while (!sandbox.memory().equals(size)) {
      Thread.sleep(100);
    }
  }

  private static long free(Sandbox sandbox) {
    String line =
        sandbox.exec("busybox", "grep", "MemFree", "/proc/meminfo").orThrow().stdout().text();
    return Long.parseLong(line.replaceAll("[^0-9]", ""));
  }

  @Test
  void quickGuestsKeepTheirMemory() throws Exception {
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox =
            nacelle.start(spec("nacelle:6.12").memoryPolicy(MemoryPolicy.SPEED).build())) {
      assertEquals(DataSize.mebibytes(MEMORY), sandbox.memory());
      assertThrows(
          UnsupportedOperationException.class, () -> sandbox.setMemory(DataSize.mebibytes(128)));
      assertEquals(
          "", sandbox.exec("busybox", "grep", "balloon", "/proc/interrupts").stdout().text());
    }
  }
}
