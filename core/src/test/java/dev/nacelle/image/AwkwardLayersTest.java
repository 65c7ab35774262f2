// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static dev.nacelle.image.testing.LayoutMaker.TAR;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import dev.nacelle.image.testing.UmociComparison;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Layers that no tool would make on a good day, against umoci's idea of them. */
class AwkwardLayersTest {
  @TempDir Path temp;

  private TreeListing compare(TarMaker[] layers, String... implied) throws IOException {
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    List<Layer> made = new ArrayList<>();
    for (TarMaker layer : layers) {
      made.add(layout.gzipLayer(layer.finish()));
    }
    layout.tag(layout.image("linux/amd64", made.toArray(Layer[]::new)), "t");
    return UmociComparison.assertSame(layout.directory(), "t", implied);
  }

  /** Starts with the root, whose time would be that of unpacking. */
  private static TarMaker layer() {
    return new TarMaker().directory("./");
  }

  private static TarMaker[] layers(TarMaker... layers) {
    return layers;
  }

  @Test
  void everyTypeReplacesEveryOther() throws IOException {
    String types = "0123456";
    TarMaker first = layer().file("target", "t").directory("targets/").file("targets/x", "t");
    TarMaker second = layer();
    for (char from : types.toCharArray()) {
      for (char to : types.toCharArray()) {
        add(first, from, "over/" + from + to, "targets");
        add(first, from, "duplicate/" + from + to, "targets");
        add(first, to, "duplicate/" + from + to, "targets");
        add(second, to, "over/" + from + to, ".");
      }
    }
    TreeListing tree = compare(layers(first.directory("over/").directory("duplicate/"), second));

    assertEquals("d", tree.get("over/25").type());
    assertEquals("l", tree.get("duplicate/52").type());
    long pairs = (long) types.length() * types.length();
    assertEquals(pairs, tree.paths().stream().filter(path -> path.matches("over/..")).count());
    assertEquals(pairs, tree.paths().stream().filter(path -> path.matches("duplicate/..")).count());
  }

  private static void add(TarMaker layer, char type, String path, String linkTarget) {
    switch (type) {
      case '0' -> layer.file(path, "content of " + path);
      case '1' -> layer.hardLink(path, "target");
      case '2' -> layer.symbolicLink(path, linkTarget);
      case '5' -> layer.directory(path);
      default ->
          layer.add(TarMaker.header(type, path).device(type == '6' ? 0 : 8, type == '6' ? 0 : 1));
    }
  }

  @Test
  void hardLinksReachAcrossLayersAndOutliveTheirTargets() throws IOException {
    TreeListing tree =
        compare(
            layers(
                layer().file("a", "1").hardLink("b", "a").symbolicLink("s", "a").hardLink("t", "s"),
                layer()
                    .hardLink("c", "b")
                    .file(".wh.a", "")
                    .file("b", "2")
                    .hardLink("d/e", "c")
                    .directory("d/"),
                layer().hardLink("f", "/d/e").hardLink("g", "./f").file("c", "3").directory("d/")));

    assertEquals("d/e", tree.get("g").sameAs());
    assertEquals("s", tree.get("t").sameAs());
    assertEquals("b", tree.get("b").sameAs());
  }

  @Test
  void whiteoutsHideWhatIsBelowOnly() throws IOException {
    TreeListing tree =
        compare(
            layers(
                layer()
                    .directory("d/")
                    .file("d/x", "1")
                    .directory("d/e/")
                    .file("d/e/y", "1")
                    .file("f", "1")
                    .directory("o/")
                    .directory("o/p/")
                    .file("o/p/x", "1")
                    .symbolicLink("l", "d"),
                layer()
                    .file(".wh.f", "")
                    .directory("d/")
                    .file("d/.wh.e", "")
                    .directory("o/")
                    .file("o/.wh..wh..opq", "")
                    .directory("o/p/")
                    .file("o/p/new", "2")
                    .file(".wh.l", "")
                    .file(".wh.absent", ""),
                layer().file("f", "3").directory("d/").directory("d/e/")));

    assertTrue(tree.paths().containsAll(List.of("f", "d/x", "d/e", "o/p/new")));
    assertEquals(8, tree.paths().size(), tree.paths().toString());
  }

  @Test
  void linkedParentsAreFollowedInsideTheImage() throws IOException {
    TreeListing tree =
        compare(
            layers(
                layer()
                    .directory("usr/")
                    .directory("usr/bin/")
                    .directory("var/")
                    .symbolicLink("bin", "usr/bin")
                    .symbolicLink("var/up", "../../../../usr")
                    .symbolicLink("absolute", "/usr/bin"),
                layer()
                    .file("bin/a", "1")
                    .file("var/up/bin/b", "1")
                    .file("absolute/c", "1")
                    .directory("usr/bin/")
                    .directory("usr/")
                    .directory("var/"),
                layer().file("bin/.wh.a", "").directory("usr/bin/").hardLink("d", "absolute/c")));

    assertEquals("d", tree.get("usr/bin/c").sameAs());
    assertTrue(tree.paths().contains("usr/bin/b"));
  }

  @Test
  void timesAndIdsAtTheirLimitsAreKept() throws IOException {
    TarMaker layer = layer();
    // The last time that umoci can set is in 2262, where 64 bits of nanoseconds end.
    String[] times = {
      "0",
      "-0.000000001",
      "-1.5",
      "-2147483648",
      "2147483647.999999999",
      "2147483648.000000001",
      "4294967296.5",
      "9223372036.854775807",
      "1.1234567899999"
    };
    for (String time : times) {
      layer.pax("mtime", time).file("time" + time, "");
    }
    for (String id : new String[] {"2097151", "2097152", "2147483648", "4294967294"}) {
      layer.pax("uid", id, "gid", id).add(TarMaker.header('0', "id" + id).mode(07777));
    }
    TreeListing tree = compare(layers(layer));

    assertEquals("9223372036.8547758070", tree.get("time9223372036.854775807").modified());
    assertEquals("4294967294", tree.get("id4294967294").uid());
  }

  @Test
  void namesAreBytes() throws IOException {
    byte[] wild = new byte[254];
    for (int i = 0, b = 0; i < wild.length; i++) {
      b = b == 0xff ? 1 : b + 1 == '/' ? '/' + 1 : b + 1;
      wild[i] = (byte) b;
    }
    byte[] longest = ("x".repeat(254) + "\u00fe").getBytes(ISO_8859_1);
    byte[] path = "path".getBytes(ISO_8859_1);
    byte[] linkPath = "linkpath".getBytes(ISO_8859_1);
    TreeListing tree =
        compare(
            layers(
                layer()
                    .add(TarMaker.header('L', "././@LongLink"), wild)
                    .file("short", "1")
                    .add(TarMaker.header('L', "././@LongLink"), longest)
                    .add(TarMaker.header('K', "././@LongLink"), wild)
                    .hardLink("short", "short")
                    .pax(path, "caf\u00e9".getBytes(ISO_8859_1), linkPath, longest)
                    .symbolicLink("s", "s")));

    assertEquals(4, tree.paths().size());
  }

  /** Without umoci and contents, for the sake of time. */
  @Test
  void aDirectoryOf100000EntriesArrives() throws IOException {
    Tool.script(
        temp,
        """
        mkdir -p tree/many; cd tree/many; seq -f 'entry-%.0f' 100000 | xargs touch -d @1234567890; cd ../..
        tar -C tree -cf layer.tar .
        """);
    layTar();

    String list = "find . -type f -printf '%P %y %m %s %T@\\n' | sort | sha256sum";
    try (MountedImage mounted = mount()) {
      assertEquals(
          Tool.script(temp.resolve("tree/many"), list),
          Tool.script(mounted.root().resolve("many"), list));
    }
  }

  private MountedImage mount() throws IOException {
    Path image =
        new ImageStore(temp.resolve("store"))
            .resolve(ImageRef.parse("oci:" + temp.resolve("layout")))
            .filesystem();
    MountedImage.check(image);
    return MountedImage.mount(image, "ro");
  }

  /** Without umoci, which would write all of it, holes included. */
  @Test
  void aFileOver4GiBArrivesWithItsHoles() throws IOException {
    Tool.script(
        temp,
        """
        mkdir tree; truncate -s 5G tree/large
        for at in 0 4294967294 5368709116; do
          printf data | dd of=tree/large bs=1 seek=$at conv=notrunc status=none
        done
        tar -C tree --sparse --format=pax -cf layer.tar .
        """);
    layTar();
    try (MountedImage mounted = mount();
        RandomAccessFile large =
            new RandomAccessFile(mounted.root().resolve("large").toFile(), "r")) {
      assertEquals(5L << 30, large.length());
      for (long at : new long[] {0, 4294967294L, 5368709116L}) {
        byte[] bytes = new byte[4];
        large.seek(at);
        large.readFully(bytes);
        assertEquals("data", new String(bytes, ISO_8859_1));
      }
      String used = Tool.run(mounted.root(), "du", "-B1", "large").split("\t", 2)[0];
      assertTrue(Long.parseLong(used) <= 4 * 4096, "the holes are gone: " + used);
    }
  }

  private void layTar() throws IOException {
    byte[] tar = Files.readAllBytes(temp.resolve("layer.tar"));
    LayoutMaker layout = new LayoutMaker(temp.resolve("layout"));
    layout.tag(layout.image("linux/amd64", layout.layer(TAR, tar, tar)), "t");
  }

  /** GNU's old format is in GnuTarTest: umoci refuses it, though Go's tar reader knows it. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "pax --sparse-version=0.0",
        "pax --sparse-version=0.1",
        "pax --sparse-version=1.0"
      })
  void sparseFilesOfEveryFormatArrive(String format) throws IOException {
    Tool.script(
        temp,
        """
        mkdir tree; cd tree; truncate -s 1M empty; truncate -s 3M ends; printf x >>ends; truncate -s 8M many
        for at in $(seq 0 40000 8000000); do printf "at $at" | dd of=many bs=1 seek=$at conv=notrunc status=none; done
        cd ..
        tar -C tree --sparse --format=%s -cf layer.tar .
        """
            .formatted(format));
    layTar();

    TreeListing tree = UmociComparison.assertSame(temp.resolve("layout"), "t");
    assertEquals((3L << 20) + 1, tree.get("ends").size());
  }
}
