// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.ResolvedKernel;
import dev.nacelle.kernel.TestKernelImages;
import dev.nacelle.kernel.TestKernels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** One process, one image, and at the same time every kind of kernel that a workload may choose. */
@Tag("boot")
@Timeout(900)
class KernelMatrixTest {
  /** Each with the output that is expected of it; KERNEL stands for the release. */
  private static final Map<String, String> CHECKS =
      Map.of(
          "uname -r", "KERNEL\n",
          "cat", "to the standard input\n",
          "id -un; id -gn; pwd", "app\napps\n/srv\n",
          "echo written >/tmp/file && cat /tmp/file", "written\n",
          "echo $COLOUR; exec 2>&1; cat /none",
              "blue\ncat: can't open '/none': No such file or directory\n",
          "sha256sum /etc/passwd",
              "a6265344b0b9151a24576532f21074d46f3339d75c40532f65fd0bd79f0d2cd0  /etc/passwd\n");

  @Test
  void everyKernelRunsTheSameImageAtTheSameTime(@TempDir Path directory) throws Exception {
    ResolvedKernel inImage = TestKernels.debian61();
    try (RegistryServer registry = RegistryServer.open(directory.resolve("registry"))) {
      registry.push("oci:" + TestKernelImages.layout(inImage) + ":latest", "linuxkit/kernel:6.1");
      Map<String, String> releases = new LinkedHashMap<>();
      for (String kernel : List.of("debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12")) {
        releases.put(kernel, TestKernels.store().resolve(KernelRef.parse(kernel)).version());
      }
      releases.put("image:" + registry.host() + "/linuxkit/kernel:6.1", inImage.version());
      ImageRef image = TestImages.busybox(directory.resolve("image"));
      try (Nacelle nacelle =
          Nacelle.builder()
              .cacheDirectory(TestKernels.CACHE)
              .registries(RegistryOptions.builder().plainHttp(registry.host()).build())
              .build()) {
        List<CompletableFuture<Sandbox>> starting =
            releases.keySet().stream()
                .map(kernel -> nacelle.startAsync(spec(image, kernel)))
                .toList();
        List<Sandbox> sandboxes = starting.stream().map(CompletableFuture::join).toList();
        List<Runnable> comparisons = new ArrayList<>();
        for (Sandbox sandbox : sandboxes) {
          String release = releases.get(sandbox.spec().kernel().toString());
          assertTrue(sandbox.info().runsBootedKernel());
          assertEquals(release, sandbox.info().kernelRelease());
          CHECKS.forEach(
              (script, output) -> {
                CompletableFuture<ExecResult> result = sandbox.execAsync(process(script));
                String expected = output.replace("KERNEL", String.valueOf(release));
                comparisons.add(
                    () ->
                        assertEquals(
                            expected,
                            result.join().stdout().text() + result.join().stderr().text(),
                            () -> sandbox.spec().kernel() + ": " + script));
              });
        }
        comparisons.forEach(Runnable::run);
      }
    }
  }

  private static SandboxSpec spec(ImageRef image, String kernel) {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(192))
        .timeout(Duration.ofMinutes(10))
        .build();
  }

  private static ProcessSpec process(String script) {
    return ProcessSpec.builder("sh", "-c", script)
        .stdin("to the standard input\n".getBytes(StandardCharsets.UTF_8))
        .build();
  }
}
