// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.origin.OciLayout;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.TarMaker;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProcessorVariantTest {
  private static final String V2 = "fpu cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3";
  private static final String V3 = V2 + " abm avx avx2 bmi1 bmi2 f16c fma movbe xsave";
  private static final String V4 = V3 + " avx512f avx512bw avx512cd avx512dq avx512vl";

  @TempDir Path temp;

  private Path cpuinfo(String flags) throws IOException {
    return Files.writeString(
        temp.resolve("cpuinfo"), "processor\t: 0\nvmx flags\t: x\nflags\t\t: " + flags + "\n\n");
  }

  private String highest(String flags) throws IOException {
    return ProcessorVariant.highest(Platform.LINUX_AMD64, cpuinfo(flags)).variant();
  }

  @Test
  void theLevelIsTheHighestWithAllFeatures() throws IOException {
    assertEquals("", highest("fpu sse sse2"));
    assertEquals("v2", highest(V2));
    assertEquals("v3", highest(V3));
    assertEquals("v4", highest(V4));
    assertEquals("v2", highest(V4.replace(" avx2", "")));
    assertEquals("", highest(V4.replace(" cx16", "")));
  }

  @Test
  void whatIsNotTheBasicAmd64StaysAsItIs() throws IOException {
    Platform v2 = Platform.of("linux", "amd64", "v2");
    Platform arm = Platform.of("linux", "arm64");
    Path none = temp.resolve("none");

    assertEquals(v2, ProcessorVariant.highest(v2, cpuinfo(V4)));
    assertEquals(arm, ProcessorVariant.highest(arm, cpuinfo(V4)));
    assertEquals(Platform.LINUX_AMD64, ProcessorVariant.highest(Platform.LINUX_AMD64, none));
  }

  private static String entry(LayoutMaker layout, String platform) throws IOException {
    String[] parts = platform.split("/", -1);
    return LayoutMaker.with(
        layout.image(platform, layout.gzipLayer(new TarMaker().file(platform, "").finish())),
        "\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\",\"variant\":\"%s\"}"
            .formatted(parts[0], parts[1], parts.length > 2 ? parts[2] : ""));
  }

  private Platform resolve(LayoutMaker layout, String flags) throws IOException {
    OciLayout source = OciLayout.open(ImageRef.ociLayout(layout.directory()), ImageLimits.DEFAULT);
    ImageResolver resolver =
        new ImageResolver(
            source, Platform.LINUX_AMD64, ImageLimits.DEFAULT, "the image", cpuinfo(flags));
    return resolver.resolve(source.roots(resolver)).config().platform();
  }

  @Test
  void whatIsForNewerProcessorsOnlyIsRunWhereTheyAre() throws IOException {
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    layout.add(
        layout.index(
            entry(layout, "linux/arm64"),
            entry(layout, "linux/amd64/v2"),
            entry(layout, "linux/amd64/v3")));

    assertEquals("linux/amd64/v2", resolve(layout, V2).toString());
    assertEquals("linux/amd64/v3", resolve(layout, V4).toString());
    assertEquals(
        "the image is not for linux/amd64, but for linux/amd64/v2, linux/amd64/v3, linux/arm64."
            + " Choose an image that was built for linux/amd64.",
        assertThrows(ImageException.class, () -> resolve(layout, "sse")).getMessage());
  }

  @Test
  void whatIsForAllProcessorsIsRunOnAll() throws IOException {
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    layout.add(layout.index(entry(layout, "linux/amd64/v3"), entry(layout, "linux/amd64")));

    assertEquals("linux/amd64", resolve(layout, V4).toString());
  }
}
