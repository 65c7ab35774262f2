// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.TarMaker;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class PlatformTest {
  @TempDir Path temp;

  @ParameterizedTest
  @CsvSource({
    "linux/amd64, linux/amd64, true",
    "linux/amd64/v3, linux/amd64, true",
    "linux/amd64/v3, linux/amd64/v2, true",
    "linux/amd64, linux/amd64/v2, false",
    "linux/amd64/v2, linux/amd64/v3, false",
    "linux/arm/v7, linux/arm/v6, true",
    "linux/arm/v6, linux/arm/v7, false",
    "linux/arm/v6, linux/arm, false",
    "linux/arm64, linux/arm64/v8, true",
    "linux/arm64, linux/arm64/v9, false",
    "linux/arm64, linux/arm/v7, false",
    "windows/amd64, linux/amd64, false",
    "linux/amd64, Linux/x86_64, true",
    "linux/amd64, linux/x86-64/V1, true",
    "linux/arm64, linux/aarch64/8, true",
    "linux/arm/v7, linux/armhf, true",
    "linux/arm/v6, linux/armel, true",
    "linux/arm/v6, linux/armhf, false",
    "linux/arm/v7, linux/arm/6, true",
    "linux/386, linux/i386, true",
    "darwin/arm64, macOS/arm64, true",
    "linux/riscv64/rva22, linux/riscv64/rva22, true",
    "linux/riscv64, linux/riscv64/rva22, false"
  })
  void olderVariantsRunToo(String own, String image, boolean runs) {
    assertEquals(runs, Platforms.fitness(Platform.parse(image), Platform.parse(own)) >= 0);
  }

  @Test
  void theBestVariantOfAnIndexIsTaken() throws IOException {
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    layout.add(
        layout.index(
            Stream.of("", "v3", "v2", "v4")
                .map(variant -> image(layout, variant))
                .toArray(String[]::new)));
    ImageStore store = new ImageStore(temp.resolve("store"));
    ImageRef ref = ImageRef.ociLayout(layout.directory());

    assertEquals(Optional.empty(), store.resolve(ref).config().user());
    assertEquals(
        Optional.of("v2"), store.resolve(ref, Platform.parse("linux/amd64/v2")).config().user());
    assertEquals(
        Optional.of("v3"), store.resolve(ref, Platform.parse("linux/amd64/v3")).config().user());
    assertEquals(
        Optional.of("v4"), store.resolve(ref, Platform.parse("linux/amd64/v9")).config().user());
  }

  /** An image whose user is named after the variant; its configuration says no variant. */
  private static String image(LayoutMaker layout, String variant) {
    try {
      LayoutMaker.Layer layer = layout.gzipLayer(new TarMaker().file("a", "a").finish());
      String config =
          layout.blob(
              LayoutMaker.CONFIG,
              LayoutMaker.config("linux/amd64", "{\"User\":\"" + variant + "\"}", List.of(layer)));
      return LayoutMaker.with(
          layout.blob(LayoutMaker.MANIFEST, LayoutMaker.manifest(config, List.of(layer))),
          "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\""
              + variant
              + "\"}");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "linux", "linux/", "/amd64", "linux/amd64/", "linux/arm/v7/more"})
  void anythingElseIsRefused(String text) {
    assertRefused("no OS/ARCHITECTURE[/VARIANT]: " + text, () -> Platform.parse(text));
  }

  @Test
  void isReadAsItIsWritten() {
    for (Platform platform : List.of(Platform.LINUX_AMD64, Platform.of("linux", "arm", "v7"))) {
      assertEquals(platform, Platform.parse(platform.toString()));
    }
  }
}
