// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.image.testing.ProvenImage;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The images that core's ProvenImagesTest had from a registry and held against umoci's trees run in
 * 128 MiB, and a program in each sees what it sees in umoci's tree.
 */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class ProvenImagesBootTest {
  private static Nacelle nacelle;

  @BeforeAll
  static void open() {
    assertTrue(
        Files.exists(ProvenImage.CACHE),
        "core's ProvenImagesTest was not run, which .ci/boot-tests does");
    nacelle = Nacelle.builder().cacheDirectory(ProvenImage.CACHE).build();
  }

  @AfterAll
  static void close() {
    nacelle.close();
  }

  private static Sandbox start(ProvenImage image) throws IOException {
    return nacelle.start(
        SandboxSpec.builder()
            .image(Files.readString(image.reference()))
            .kernel("nacelle:6.12")
            .memory(DataSize.mebibytes(128))
            .startTimeout(Duration.ofMinutes(8))
            .build());
  }

  @ParameterizedTest
  @EnumSource
  void runsAProgramThatSeesItsTreeAndDoesWhatItsConfigurationSays(ProvenImage image)
      throws IOException {
    try (Sandbox sandbox = start(image)) {
      ExecResult result =
          sandbox.exec(ProcessSpec.builder(image.program().toArray(String[]::new)).build());
      assertEquals("", result.stderr().text());
      assertEquals(0, result.exitCode());
      assertEquals(
          Files.readString(image.listing(), ISO_8859_1),
          new String(result.stdout().bytes(), ISO_8859_1));
      if (image == ProvenImage.BUILDAH_LAYERS || image == ProvenImage.UMOCI_LAYERS) {
        assertEquals(9, sandbox.exec(ProcessSpec.entrypoint().build()).exitCode());
        assertEquals(
            image == ProvenImage.BUILDAH_LAYERS ? "/opaque\n" : "/empty\n",
            sandbox.exec(ProcessSpec.entrypoint("pwd").build()).stdout().text());
      }
    }
  }
}
