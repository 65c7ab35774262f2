// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.TestKernels;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What our own kernels are for, each in the smallest machine that a static program needs. */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class OwnKernelTest {
  @ParameterizedTest
  @ValueSource(strings = {"nacelle:6.1", "default"})
  void hasWhatAWorkloadAsksForIn64MiB(String kernel, @TempDir Path directory) throws IOException {
    ImageRef image = TestImages.busybox(directory);
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(image)
            .kernel(kernel)
            .memory(DataSize.mebibytes(64))
            .timeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      KernelRef booted = sandbox.info().kernel();
      String expected = kernel.equals("default") ? "nacelle:6.12" : kernel;
      assertTrue(booted.toString().startsWith(expected + "@sha256:"), booted::toString);
      assertEquals(TestKernels.store().resolve(booted).version(), output(sandbox, "uname -r"));

      String filesystems = output(sandbox, "cat /proc/filesystems");
      for (String name : List.of("ext4", "erofs", "overlay", "tmpfs", "cgroup2", "hugetlbfs")) {
        assertTrue(filesystems.contains("\t" + name), filesystems);
      }
      String controllers = output(sandbox, "cat /proc/cgroups");
      for (String name :
          List.of(
              "cpuset",
              "cpu",
              "blkio",
              "memory",
              "hugetlb",
              "pids",
              "rdma",
              "misc",
              "perf_event")) {
        assertTrue(controllers.contains("\n" + name + "\t"), controllers);
      }
      assertEquals(
          "cgroup ipc mnt net pid pid_for_children time time_for_children user uts",
          output(sandbox, "cd /proc/self/ns; echo *"));
      String devices = output(sandbox, "cat /proc/misc");
      assertTrue(devices.contains("tun"), devices);
      assertEquals("no modules", output(sandbox, "[ -e /proc/modules ] || echo no modules"));

      byte[] packed = sandbox.exec("cat", "/proc/config.gz").stdout().bytes();
      assertEquals(
          TestKernels.store().resolve(booted).config().orElseThrow().text(),
          new String(
              new GZIPInputStream(new ByteArrayInputStream(packed)).readAllBytes(),
              StandardCharsets.UTF_8));
    }
  }

  private static String output(Sandbox sandbox, String script) {
    ExecResult result = sandbox.exec("sh", "-c", script);
    assertEquals("", result.stderr().text());
    return result.stdout().text().strip();
  }
}
