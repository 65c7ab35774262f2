// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static dev.nacelle.image.testing.LayoutMaker.TAR;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.AwkwardTree;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A tree that GNU tar packed arrives as it was, in each of its formats. */
class GnuTarTest {
  @TempDir Path temp;

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gnu --sparse",
        "pax",
        "pax --sparse --sparse-version=0.0",
        "pax --sparse --sparse-version=0.1",
        "pax --sparse --sparse-version=1.0"
      })
  void theTreeArrivesAsItWas(String format) throws IOException {
    Path tree = Files.createDirectory(temp.resolve("tree"));
    AwkwardTree.make(tree);
    String xattrs = "";
    if (format.startsWith("pax")) {
      AwkwardTree.addWhatPaxCanHold(tree);
      xattrs = "--xattrs '--xattrs-include=*'";
    }
    Tool.script(
        temp, "tar -C tree -cf layer.tar --numeric-owner " + xattrs + " --format=" + format + " .");
    byte[] tar = Files.readAllBytes(temp.resolve("layer.tar"));
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    layout.add(layout.image("linux/amd64", layout.layer(TAR, tar, tar)));

    Path image =
        new ImageStore(temp.resolve("store"))
            .resolve(ImageRef.ociLayout(layout.directory()))
            .filesystem();

    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      TreeListing expected = TreeListing.of(tree);
      assertEquals("", expected.differences(TreeListing.of(mounted.root())));
      assertTrue(expected.paths().size() >= 50);
    }
    Tool.run(temp, "rm", "-r", "tree");
    long packed = format.contains("sparse") ? 16 << 20 : 64 << 20;
    assertTrue(Files.size(image) < packed, "the holes are gone: " + Files.size(image));
  }
}
