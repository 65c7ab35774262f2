// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.ResolvedKernel;
import dev.nacelle.kernel.TestKernels;
import dev.nacelle.spi.MemoryPolicy;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class MemoryPolicyBootTest {
  private static final long MIB = 1 << 20;

  @ParameterizedTest
  @ValueSource(strings = {"debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12"})
  void denseGuestsRunTheKernelsFileAndShareWhatTheyDoNotWriteTo(String ref, @TempDir Path directory)
      throws IOException {
    ResolvedKernel kernel = TestKernels.store().resolve(KernelRef.parse(ref));
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(TestImages.busybox(directory))
            .kernel(ref)
            .memory(DataSize.mebibytes(128))
            .memoryPolicy(MemoryPolicy.DENSITY)
            .timeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox one = nacelle.start(spec);
        Sandbox two = nacelle.start(spec)) {
      for (Sandbox sandbox : new Sandbox[] {one, two}) {
        assertEquals(kernel.version() + "\n", sandbox.exec("uname", "-r").stdout().text());
      }
      long mapped = bytesOf(kernel.vmlinux(), "Size");
      assertTrue(mapped > 2 * 16 * MIB, "mapped: " + mapped);
      // Dirty on a tmpfs, which has no other place for it.
      long shared =
          bytesOf(kernel.vmlinux(), "Shared_Clean") + bytesOf(kernel.vmlinux(), "Shared_Dirty");
      assertTrue(shared > 2 * MIB, "shared: " + shared);
    }
    assertEquals(0, bytesOf(kernel.vmlinux(), "Size"));
  }

  /** The sum of a field of this process's mappings of a file (proc_pid_smaps(5)). */
  private static long bytesOf(Path file, String field) throws IOException {
    long sum = 0;
    boolean counts = false;
    for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
      String[] words = line.split(" +");
      if (words[0].contains("-")) {
        counts = line.endsWith(" " + file);
      } else if (counts && words[0].equals(field + ":")) {
        sum += Long.parseLong(words[1]) * 1024;
      }
    }
    return sum;
  }
}
