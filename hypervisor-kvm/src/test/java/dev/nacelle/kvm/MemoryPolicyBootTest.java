// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class MemoryPolicyBootTest {
  private static final Path RESERVED = HugePages.ofHost().directory().resolve("nr_hugepages");

  /** Of 96 MiB. */
  private static final long PAGES = 48;

  @ParameterizedTest
  @ValueSource(strings = {"debian:6.1", "nacelle:6.12"})
  void denseGuestsRunTheKernelsFileAndShareWhatTheyDoNotWriteTo(String ref, @TempDir Path directory)
      throws IOException {
    ResolvedKernel kernel = TestKernels.store().resolve(KernelRef.parse(ref));
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(TestImages.busybox(directory))
            .kernel(ref)
            .memory(DataSize.mebibytes(128))
            .memoryPolicy(MemoryPolicy.DENSITY)
            .startTimeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox one = nacelle.start(spec);
        Sandbox two = nacelle.start(spec)) {
      for (Sandbox sandbox : new Sandbox[] {one, two}) {
        assertEquals(kernel.version() + "\n", sandbox.exec("uname", "-r").stdout().text());
      }
      long mapped = MemoryRegion.kib(kernel.vmlinux(), "Size");
      // Most of it by each of the two.
      assertTrue(mapped > Files.size(kernel.vmlinux()) / 1024, "mapped: " + mapped);
      // Dirty on a tmpfs, which has no other place for it.
      long shared =
          MemoryRegion.kib(kernel.vmlinux(), "Shared_Clean")
              + MemoryRegion.kib(kernel.vmlinux(), "Shared_Dirty");
      assertTrue(shared > 2 * 1024, "shared: " + shared);
    }
    assertEquals(List.of(), MemoryRegion.of(kernel.vmlinux()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"debian:6.1", "nacelle:6.12"})
  void guestsHaveReservedHugePagesAsLongAsThereAreEnough(String ref, @TempDir Path directory)
      throws Exception {
    long before = Long.parseLong(Files.readString(RESERVED).strip());
    assumeTrue(Files.isWritable(RESERVED), "only root reserves huge pages");
    assumeTrue(before == 0, "those of this host are somebody else's");
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(TestImages.busybox(directory))
            .kernel(ref)
            .memory(DataSize.mebibytes(96))
            .memoryPolicy(MemoryPolicy.HUGE_PAGES)
            .startTimeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build()) {
      reserve();
      assertEquals(PAGES, free());
      try (Sandbox sandbox = nacelle.start(spec)) {
        assertEquals(0, free());
        assertEquals(spec.memory(), sandbox.statistics().memory().orElseThrow());
        assertEquals("42\n", sandbox.exec("sh", "-c", "echo $((6 * 7))").stdout().text());
        sandbox.pause().close();
        UnsupportedOperationException fixed =
            assertThrows(
                UnsupportedOperationException.class,
                () -> sandbox.setMemory(DataSize.mebibytes(64)));
        assertTrue(fixed.getMessage().contains("MemoryPolicy.DENSITY"), fixed::getMessage);
        HypervisorException none =
            assertThrows(HypervisorException.class, () -> nacelle.start(spec).close());
        assertTrue(
            none.getMessage().contains("wants " + PAGES + " huge pages of 2 MiB"),
            none::getMessage);
      }
      assertEquals(PAGES, free());
    } finally {
      Files.writeString(RESERVED, "0");
    }
  }

  /** Of memory that is in pieces some are had only once these are put together. */
  private static void reserve() throws IOException, InterruptedException {
    long start = System.nanoTime();
    do {
      Files.writeString(Path.of("/proc/sys/vm/drop_caches"), "3");
      Files.writeString(Path.of("/proc/sys/vm/compact_memory"), "1");
      Files.writeString(RESERVED, "" + PAGES);
      Thread.sleep(100);
    } while (free() < PAGES && System.nanoTime() - start < TimeUnit.MINUTES.toNanos(2));
  }

  private static long free() throws IOException {
    return Long.parseLong(
        Files.readString(HugePages.ofHost().directory().resolve("free_hugepages")).strip());
  }
}
