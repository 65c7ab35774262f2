// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.kernel.ResolvedKernel;
import dev.nacelle.kernel.TestKernelImages;
import dev.nacelle.kernel.TestKernels;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A kernel out of an OCI image in a registry, with its modules. */
@Tag("boot")
@Timeout(600)
class KernelInImageBootTest {
  @Test
  void aKernelFromARegistryBoots(@TempDir Path directory) throws IOException {
    ResolvedKernel debian = TestKernels.debian61();
    try (RegistryServer registry = RegistryServer.open(directory.resolve("registry"))) {
      registry.push("oci:" + TestKernelImages.layout(debian) + ":latest", "linuxkit/kernel:6.1");
      SandboxSpec spec =
          SandboxSpec.builder()
              .image(TestImages.busybox(directory.resolve("image")))
              .kernel("image:" + registry.host() + "/linuxkit/kernel:6.1")
              .memory(DataSize.mebibytes(192))
              .timeout(Duration.ofMinutes(8))
              .build();
      RegistryOptions options = RegistryOptions.builder().plainHttp(registry.host()).build();
      try (Nacelle nacelle =
              Nacelle.builder()
                  .cacheDirectory(directory.resolve("cache"))
                  .registries(options)
                  .build();
          Sandbox sandbox = nacelle.start(spec)) {
        assertEquals(debian.version() + "\n", sandbox.exec("uname", "-r").stdout().text());
        assertEquals(debian.build() + "\n", sandbox.exec("uname", "-v").stdout().text());
        assertTrue(sandbox.info().runsBootedKernel(), () -> sandbox.info().toString());
        assertEquals(
            spec.kernel().withDigest(sandbox.info().kernel().digest().orElseThrow()),
            sandbox.info().kernel());
      }
    }
  }
}
