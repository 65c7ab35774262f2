// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.nacelle.DataDisk;
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
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a guest does not use is the host's again, by what this process takes of it. */
@Tag("boot")
@Timeout(value = 20, unit = TimeUnit.MINUTES)
class MemoryGivenBackBootTest {
  /** Of which Debian's kernel leaves the workload 140, and these three quarters for files. */
  private static final int MEMORY = 208;

  private static final int LESS = 96;

  /** More than a guest with less memory has free, and less than all of them have else. */
  private static final int USED = 80;

  /** What the guest keeps of a file: used, and not needed. */
  private static final int CACHED = 100;

  /** For what comes within seconds, or not at all. */
  private static final Duration LIMIT = Duration.ofMinutes(5);

  /** Counts those that the guest sees (virtio 1.2 section 5.5.1). */
  static final String BALLOONS = "cat /sys/bus/virtio/devices/*/device | busybox grep -c 0x0005";

  @TempDir Path directory;

  private SandboxSpec.Builder spec(String kernel) throws Exception {
    return SandboxSpec.builder()
        .image(TestImages.busybox(directory))
        .kernel(kernel)
        .memory(DataSize.mebibytes(MEMORY))
        .memoryPolicy(MemoryPolicy.DENSITY)
        .writableLayer(WritableLayer.inMemory(DataSize.mebibytes(84)))
        // Which is in the same memory.
        .sharedMemory(DataSize.mebibytes(1))
        .dataDisk("/data", DataDisk.empty(DataSize.mebibytes(2 * CACHED)))
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

  /** Likewise, once it has stayed the same for some of the guest's looks. */
  private static long settled(Sandbox sandbox) throws Exception {
    long end = System.nanoTime() + LIMIT.toNanos();
    long last = resident();
    for (int same = 0; same < 3; ) {
      if (System.nanoTime() > end) {
        fail("it does not settle: " + last + " MiB here; " + seen(sandbox));
      }
      Thread.sleep(2000);
      long now = resident();
      same = Math.abs(now - last) <= 1 ? same + 1 : 0;
      last = now;
    }
    return last;
  }

  /** The guest's kernel looks for what is free every two seconds. */
  private static void awaitResidentBelow(Sandbox sandbox, long mebibytes) throws Exception {
    await(sandbox, () -> resident() < mebibytes, "less than " + mebibytes + " MiB here");
  }

  private static void await(Sandbox sandbox, Callable<Boolean> reached, String wanted)
      throws Exception {
    long end = System.nanoTime() + LIMIT.toNanos();
    while (!reached.call()) {
      if (System.nanoTime() > end) {
        String now = "wanted " + wanted + ": " + resident() + " MiB here, the guest ";
        fail(now + sandbox.memory() + "; " + seen(sandbox));
      }
      Thread.sleep(500);
    }
  }

  /** One boot for both, since a boot and what fills its memory are slow in the lab. */
  @ParameterizedTest
  @ValueSource(strings = {"nacelle:6.12", "nacelle:6.1", "debian:6.1", "debian:6.12"})
  void whatWasFreedGoesBackByItselfAndMemoryIsResizedWhileItRuns(String kernel) throws Exception {
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec(kernel).build())) {
      assertFreedMemoryGoesBack(sandbox);
      assertMemoryIsResized(sandbox);
    }
  }

  private static void assertFreedMemoryGoesBack(Sandbox sandbox) throws Exception {
    long before = settled(sandbox);
    fill(sandbox);
    long used = resident();
    assertTrue(used - before > USED * 3 / 4, used + " MiB after " + before);
    sandbox.exec("busybox", "rm", "/tmp/fill").orThrow();
    awaitResidentBelow(sandbox, used - USED / 2);
    fill(sandbox);
    assertTrue(resident() - before > USED * 3 / 4, "it can be used again");
    sandbox.exec("busybox", "rm", "/tmp/fill").orThrow();
  }

  /** In memory, where the writable layer is. */
  private static void fill(Sandbox sandbox) {
    write(sandbox, "/tmp/fill", USED);
  }

  private static void write(Sandbox sandbox, String file, int mebibytes) {
    sandbox
        .exec("dd", "if=/dev/zero", "of=" + file, "bs=1M", "count=" + mebibytes, "conv=fsync")
        .orThrow();
  }

  private static void assertMemoryIsResized(Sandbox sandbox) throws Exception {
    DataSize all = DataSize.mebibytes(MEMORY);
    DataSize less = DataSize.mebibytes(LESS);
    assertEquals(all, sandbox.memory());
    assertEquals("1\n", sandbox.exec("sh", "-c", BALLOONS).stdout().text());
    write(sandbox, "/data/cached", CACHED);
    long cached = resident();
    sandbox.setMemory(less);
    awaitMemory(sandbox, less);
    // Of what it keeps for files the guest has to give up what the host is to have.
    awaitResidentBelow(sandbox, cached - CACHED / 4);
    long left = free(sandbox);
    assertTrue(left < LESS * 1024, "KiB free: " + left);
    assertEquals("on\n", sandbox.exec("echo", "on").stdout().text());

    // More than it was left: it takes back what it needs.
    fill(sandbox);
    assertTrue(sandbox.memory().compareTo(less) > 0, () -> "deflated: " + sandbox.memory());
    long used = resident();
    sandbox.exec("busybox", "rm", "/tmp/fill").orThrow();
    // Less than half: it got its memory back in pieces, and gives whole blocks.
    awaitResidentBelow(sandbox, used - USED / 4);

    sandbox.setMemory(all);
    awaitMemory(sandbox, all);
    long gained = free(sandbox) - left;
    assertTrue(gained > (MEMORY - LESS) * 1024 / 2, "KiB gained: " + gained);
    // It takes what it may have once it has use for it, beside what it has not given back.
    long idle = settled(sandbox);
    fill(sandbox);
    long busy = resident();
    assertTrue(busy - idle > USED / 8, () -> busy + " MiB after " + idle + "; " + seen(sandbox));
    assertThrows(
        IllegalArgumentException.class, () -> sandbox.setMemory(DataSize.mebibytes(MEMORY + 1)));
  }

  private static void awaitMemory(Sandbox sandbox, DataSize size) throws Exception {
    await(sandbox, () -> sandbox.memory().equals(size), size + " of the guest");
  }

  /** What the guest says of its memory. */
  private static String seen(Sandbox sandbox) {
    return sandbox.exec("busybox", "cat", "/proc/meminfo", "/proc/buddyinfo").stdout().text();
  }

  private static long free(Sandbox sandbox) {
    String line =
        sandbox.exec("busybox", "grep", "MemFree", "/proc/meminfo").orThrow().stdout().text();
    return Long.parseLong(line.replaceAll("[^0-9]", ""));
  }
}
