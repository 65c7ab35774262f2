// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.layer.LayerApplier;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.RepeatingStream;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.internal.OtherProcess;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.UUID;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Images are built in the memory that {@link ImageLimits} says, and no more for large files. */
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

  /** Makes a filesystem of an archive's one file, which goes on and on. */
  static final class DenseBuilder {
    private DenseBuilder() {}

    public static void main(String[] arguments) throws IOException {
      long size = Long.parseLong(arguments[1]);
      byte[] header = new TarMaker().add(TarMaker.header('0', "noise").size(size)).unfinished();
      try (Ext4Writer writer =
          Ext4Writer.create(Path.of(arguments[0]), Ext4Options.of(new UUID(1, 2)))) {
        LayerApplier applier = new LayerApplier(writer, ImageLimits.DEFAULT);
        TarReader tar =
            new TarReader(
                new SequenceInputStream(new ByteArrayInputStream(header), new RepeatingStream()),
                1 << 20);
        applier.apply(tar.next(), tar.content());
        writer.finish();
      }
    }
  }

  @Test
  @Tag("slow")
  void aFileWithMoreBytesThan32BitsCountFitsIn32MiB() throws Exception {
    long size = (1L << 32) + 100_000_001;
    Path image = temp.resolve("image");
    try (OtherProcess process =
        OtherProcess.startWithHeap("32m", DenseBuilder.class, image, size)) {
      assertEquals(0, process.waitFor());
    }
    MountedImage.check(image);
    try (MountedImage mounted = MountedImage.mount(image, "ro")) {
      Path file = mounted.root().resolve("noise");
      assertEquals(size, Files.size(file));
      InputStream expected = new RepeatingStream();
      try (InputStream content = Files.newInputStream(file)) {
        long read = 0;
        for (byte[] bytes; (bytes = content.readNBytes(1 << 20)).length > 0; ) {
          assertEquals(
              -1, Arrays.mismatch(expected.readNBytes(bytes.length), bytes), "behind byte " + read);
          read += bytes.length;
        }
        assertEquals(size, read);
      }
    }
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
