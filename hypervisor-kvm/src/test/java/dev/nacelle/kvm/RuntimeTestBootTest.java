// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.GuestProcess;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.internal.CacheDirectory;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.oci.OciBundle;
import dev.nacelle.oci.OciRuntime;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * A container judged from within, by runtimetest of opencontainers/runtime-tools
 * (.ci/oci-validation/build): it compares what it finds with its config.json. And its control
 * group, which runtimetest does not look at, and the validation programs only in version 1: with
 * the values of those. All the programs and more configurations run by .ci/oci-validation/run.
 */
@Tag("boot")
@Timeout(900)
class RuntimeTestBootTest {
  private static final Path TOOL =
      CacheDirectory.ofThisUser().resolve("oci-validation/current/runtimetest");

  /** How many checks there are of this configuration, so that none is lost. */
  private static final int CHECKS = 320;

  @Test
  void containerIsAsItsConfigurationSays(@TempDir Path bundle) throws IOException {
    assertTrue(Files.exists(TOOL), "there is no " + TOOL + ": .ci/oci-validation/build makes it");
    Path root = bundle.resolve("rootfs");
    for (String directory : List.of("etc/oci", "srv/data", "srv/masked", "tmp", "bin")) {
      Files.createDirectories(root.resolve(directory));
    }
    Files.copy(TOOL, root.resolve("runtimetest"));
    Files.copy(Path.of("/bin/busybox"), root.resolve("bin/busybox"));
    Files.writeString(root.resolve("etc/masked"), "not to be seen");
    Files.writeString(root.resolve("srv/masked/file"), "not to be seen");
    Files.writeString(root.resolve("srv/data/file"), "copied");
    try (InputStream json = RuntimeTestBootTest.class.getResourceAsStream("oci/root.json")) {
      byte[] content = Objects.requireNonNull(json).readAllBytes();
      Files.write(bundle.resolve("config.json"), content);
      Files.write(root.resolve("etc/oci/config.json"), content);
    }
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build()) {
      OciRuntime runtime = new OciRuntime(nacelle);
      runtime.create(
          "judged",
          OciBundle.read(bundle),
          spec ->
              spec.kernel(KernelRef.parse("nacelle:6.12"))
                  .memory(DataSize.mebibytes(160))
                  .startTimeout(Duration.ofMinutes(10)));
      assertControlGroup(nacelle.sandboxes().get(0));
      assertReport(runtime.start("judged"));
      runtime.delete("judged");
    }
  }

  private static void assertControlGroup(Sandbox sandbox) {
    String files =
        "pids.max memory.max memory.low cpu.weight cpu.max cpuset.cpus cpuset.mems hugetlb.2MB.max";
    ProcessSpec read =
        ProcessSpec.builder("sh", "-c", "cd /sys/fs/cgroup && /bin/busybox cat " + files)
            .executable("/bin/busybox")
            .build();
    assertEquals(
        "1000\n50593792\n50593792\n39\n200000 100000\n0\n0\n209715200\n",
        sandbox.exec(read).orThrow().stdout().text());
  }

  private static void assertReport(GuestProcess process) throws IOException {
    String report = new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8);
    String errors = new String(process.stderr().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor().exitCode(), report + errors);
    List<String> lines = report.lines().map(String::strip).toList();
    List<String> wrong =
        lines.stream()
            .filter(line -> line.startsWith("not ok") && !line.contains("# TODO"))
            .toList();
    assertEquals(List.of(), wrong, report);
    long right =
        lines.stream().filter(line -> line.startsWith("ok ") && !line.contains("# SKIP")).count();
    assertEquals(CHECKS, right, report);
  }
}
