// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.internal.OtherProcess;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Images are built in the memory that {@link ImageLimits} says. */
@Timeout(300)
class SmallHeapTest {
  private static final int FILES = 100_000;

  @TempDir Path temp;

  /** Builds an image, in a process of its own. */
  static final class Builder {
    private Builder() {}

    public static void main(String[] arguments) {
      ImageStore store = new ImageStore(Path.of(arguments[0]));
      System.out.println(store.resolve(ImageRef.parse(arguments[1])).filesystem());
    }
  }

  @Test
  void aHundredThousandFilesWithTheSameLabelsAndAnotherLayerFitIn64MiB() throws Exception {
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    TarMaker files = new TarMaker();
    String xattr = "SCHILY.xattr.";
    String[] labels = {
      xattr + "security.selinux", "system_u:object_r:container_file_t:s0:c1,c2",
      xattr + "user.origin", "somewhere else",
      xattr + "user.checked", "yes"
    };
    for (int i = 0; i < FILES; i++) {
      files.pax(labels).file("d/" + i, "");
    }
    LayoutMaker.Layer first = layout.gzipLayer(files.finish());
    LayoutMaker.Layer second = layout.gzipLayer(new TarMaker().file("d/1", "2").finish());
    layout.tag(layout.image("linux/amd64", first), "base");
    layout.tag(layout.image("linux/amd64", first, second), "whole");

    build("oci:" + layout.directory() + ":base");
    MountedImage.check(build("oci:" + layout.directory() + ":whole"));
  }

  private Path build(String ref) throws IOException, InterruptedException {
    try (OtherProcess process =
        OtherProcess.startWithHeap("64m", Builder.class, temp.resolve("store"), ref)) {
      String filesystem = process.read();
      assertEquals(0, process.waitFor());
      return Path.of(filesystem);
    }
  }
}
