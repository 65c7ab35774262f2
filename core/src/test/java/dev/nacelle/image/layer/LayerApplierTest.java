// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.layer;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.image.ext4.Directory;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.image.ext4.ExtendedAttributes;
import dev.nacelle.image.ext4.FileName;
import dev.nacelle.image.ext4.Inode;
import dev.nacelle.image.ext4.RegularFile;
import dev.nacelle.image.ext4.SpecialFile;
import dev.nacelle.image.ext4.SymbolicLink;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.TarMaker;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LayerApplierTest {
  @TempDir Path temp;
  private Ext4Writer writer;
  private LayerApplier applier;

  @BeforeEach
  void start() throws IOException {
    writer = Ext4Writer.create(temp.resolve("image"), Ext4Options.of(new UUID(1, 2)));
    applier = new LayerApplier(writer, ImageLimits.DEFAULT);
  }

  @AfterEach
  void finish() throws IOException {
    writer.finish();
    writer.close();
    MountedImage.check(temp.resolve("image"));
  }

  private void apply(TarMaker layer) throws IOException {
    TarReader tar = new TarReader(new ByteArrayInputStream(layer.finish()), 1 << 20);
    for (TarEntry entry; (entry = tar.next()) != null; ) {
      applier.apply(entry, tar.content());
    }
    applier.endLayer();
  }

  private static TarMaker layer() {
    return new TarMaker();
  }

  /** Each path with its type: "/" for a directory, the size of a file, "-> target" of a link. */
  private Set<String> tree() {
    Set<String> paths = new TreeSet<>();
    List<Directory> directories = new ArrayList<>(List.of(writer.root()));
    List<String> prefixes = new ArrayList<>(List.of(""));
    for (int i = 0; i < directories.size(); i++) {
      for (FileName name : directories.get(i).names()) {
        Inode inode = directories.get(i).get(name);
        String path = prefixes.get(i) + name;
        if (inode instanceof Directory directory) {
          directories.add(directory);
          prefixes.add(path + "/");
          paths.add(path + "/");
        } else if (inode instanceof RegularFile file) {
          paths.add(path + " " + file.size());
        } else if (inode instanceof SymbolicLink link) {
          paths.add(path + " -> " + new String(link.target(), UTF_8));
        } else if (inode instanceof SpecialFile special) {
          paths.add(path + " " + special.type());
        }
      }
    }
    return paths;
  }

  private Inode inode(String path) {
    Inode inode = writer.root();
    for (String name : path.split("/", -1)) {
      Inode child = inode instanceof Directory parent ? parent.get(FileName.of(name)) : null;
      if (child == null) {
        throw new AssertionError("no " + path + " in " + tree());
      }
      inode = child;
    }
    return inode;
  }

  @Test
  void aWhiteoutRemovesWhatLowerLayersHave() throws IOException {
    apply(layer().file("a/b", "1").file("a/c/d", "1").file("e", "1"));
    apply(layer().file("a/.wh.b", "").file("a/.wh.c", "").file(".wh.missing", ""));

    assertEquals(Set.of("a/", "e 1"), tree());
  }

  @Test
  void aWhiteoutLeavesWhatItsOwnLayerHas() throws IOException {
    apply(layer().file("x/old", "1").file("f", "1"));
    apply(layer().file("x/new", "22").file(".wh.x", "").file("f", "22").file(".wh.f", ""));

    assertEquals(Set.of("x/", "x/new 2", "f 2"), tree());
  }

  @Test
  void anOpaqueDirectoryLosesLowerContentWhereverTheMarkStands() throws IOException {
    apply(layer().file("a/b/c/bar", "1").file("a/x", "1").file("k/l", "1"));
    apply(
        layer()
            .directory("a/")
            .directory("a/b/")
            .directory("a/b/c/")
            .file("a/b/c/foo", "22")
            .file("a/.wh..wh..opq", "")
            .file("k/.wh..wh..opq", ""));

    assertEquals(Set.of("a/", "a/b/", "a/b/c/", "a/b/c/foo 2", "k/"), tree());
  }

  @Test
  void anOpaqueMarkBeforeTheContentDoesTheSame() throws IOException {
    apply(layer().file("a/b/bar", "1"));
    apply(layer().directory("a/").file("a/.wh..wh..opq", "").file("a/b/foo", "22"));

    assertEquals(Set.of("a/", "a/b/", "a/b/foo 2"), tree());
  }

  @Test
  void inTheFirstLayerWhiteoutsHideNothing() throws IOException {
    apply(layer().file("a", "1").file(".wh.a", "").file(".wh..wh..opq", ""));

    assertEquals(Set.of("a 1"), tree());
  }

  @Test
  void aHardLinkToALowerFileIsOfItsOwnLayer() throws IOException {
    apply(layer().file("a", "1").file("d/x", "1"));
    apply(layer().hardLink("d/b", "a").file("d/.wh..wh..opq", ""));

    assertEquals(Set.of("a 1", "d/", "d/b 1"), tree());
    assertEquals(inode("a"), inode("d/b"));
  }

  @Test
  void whiteoutsFollowLinkedParents() throws IOException {
    apply(layer().file("usr/lib/a", "1").symbolicLink("lib", "usr/lib"));
    apply(layer().file("lib/.wh.a", ""));

    assertEquals(Set.of("usr/", "usr/lib/", "lib -> usr/lib"), tree());
  }

  @Test
  void absoluteNamesBeginAtTheImagesRoot() throws IOException {
    apply(layer().directory("/").directory("/usr/").file("//usr/a", "1").file("usr/b", "1"));
    apply(
        layer()
            .add(TarMaker.header('5', "/").mode(0711))
            .directory("./")
            .hardLink("/c", "/usr/a")
            .file("/usr/.wh.b", ""));

    assertEquals(Set.of("c 1", "usr/", "usr/a 1"), tree());
    assertEquals(inode("usr/a"), inode("c"));
  }

  @Test
  void aDirectoryWithoutANameIsTheRoot() throws IOException {
    apply(layer().add(TarMaker.header('5', "").mode(0711)).file("a", "1"));

    assertEquals(Set.of("a 1"), tree());
    assertEquals(0711, writer.root().attributes().permissions());
  }

  @Test
  void aPathThroughAnAbsoluteLinkStaysInTheImage() throws IOException {
    apply(layer().symbolicLink("/etc", "/../../outside").file("/etc/passwd", "1"));

    assertEquals(Set.of("etc -> /../../outside", "outside/", "outside/passwd 1"), tree());
  }

  @Test
  void hardLinksLeadToWhatAufsKeptForThemUntilTheLayerEnds() throws IOException {
    apply(layer().file("old", "1"));
    apply(
        layer()
            .directory(".wh..wh.plnk/")
            .file(".wh..wh.plnk/12.34", "22")
            .file("/.wh..wh.plnk/56.78", "unused")
            .hardLink("a", "/.wh..wh.plnk/12.34")
            .file(".wh..wh..opq", "")
            .hardLink("b/c", ".wh..wh.plnk/12.34"));

    assertEquals(Set.of("a 2", "b/", "b/c 2"), tree());
    assertEquals(inode("a"), inode("b/c"));
    IllegalArgumentException fault =
        assertThrows(
            IllegalArgumentException.class,
            () -> apply(layer().hardLink("d", ".wh..wh.plnk/12.34")));
    assertEquals(
        "it is a hard link to '.wh..wh.plnk/12.34', which is not there", fault.getMessage());
  }

  @Test
  void bookkeepingOfAufsIsPassedOver() throws IOException {
    apply(
        layer().directory(".wh..wh.plnk/").file(".wh..wh.plnk/1.2", "x").file(".wh..wh.aufs", ""));

    assertEquals(Set.of(), tree());
  }

  @Test
  void entriesReplaceOthersOfAnotherType() throws IOException {
    apply(layer().file("a/x", "1").file("b", "1").symbolicLink("c", "b").directory("d/"));
    apply(
        layer()
            .file("a", "22")
            .directory("b/")
            .directory("c/")
            .symbolicLink("d", "a")
            .add(TarMaker.header('6', "e"))
            .file("e", "333"));

    assertEquals(Set.of("a 2", "b/", "c/", "d -> a", "e 3"), tree());
  }

  @Test
  void aDirectoryOverADirectoryKeepsTheContentAndTakesTheAttributes() throws IOException {
    apply(layer().directory("a/").file("a/x", "1").directory("./"));
    apply(
        layer()
            .add(TarMaker.header('5', "a").mode(01711))
            .add(TarMaker.header('5', "./").mode(0700)));

    assertEquals(Set.of("a/", "a/x 1"), tree());
    assertEquals(01711, inode("a").attributes().permissions());
    assertEquals(0700, writer.root().attributes().permissions());
  }

  @Test
  void replacingOneNameOfAFileLeavesItsOtherNames() throws IOException {
    apply(layer().file("a", "1").hardLink("b", "a").hardLink("c", "./b"));
    apply(layer().file("a", "22"));

    assertEquals(Set.of("a 2", "b 1", "c 1"), tree());
    assertEquals(inode("b"), inode("c"));
  }

  @Test
  void linkedParentsAreFollowedInsideTheTreeOnly() throws IOException {
    apply(
        layer()
            .directory("usr/bin/")
            .symbolicLink("bin", "usr/bin")
            .symbolicLink("abs", "/usr/bin")
            .symbolicLink("up", "../../../../../usr")
            .symbolicLink("etc", "/outside/etc")
            .symbolicLink("chain", "up/bin"));
    apply(
        layer()
            .file("bin/a", "1")
            .file("abs/b", "1")
            .file("up/c", "1")
            .file("etc/passwd", "1")
            .file("chain/d", "1"));

    Set<String> tree = tree();
    assertTrue(
        tree.containsAll(
            Set.of("usr/bin/a 1", "usr/bin/b 1", "usr/c 1", "outside/etc/passwd 1", "usr/bin/d 1")),
        tree.toString());
  }

  @Test
  void aLinkInTheLastPlaceIsReplacedNotFollowed() throws IOException {
    apply(layer().file("target", "1").symbolicLink("link", "target"));
    apply(layer().file("link", "22"));

    assertEquals(Set.of("target 1", "link 2"), tree());
  }

  @Test
  void aHardLinkToASymbolicLinkIsTheLinkItself() throws IOException {
    apply(layer().file("f", "1").symbolicLink("s", "f").hardLink("h", "/s"));

    assertEquals(Set.of("f 1", "s -> f", "h -> f"), tree());
  }

  @Test
  void missingParentsAreMade() throws IOException {
    apply(layer().file("a/b/c", "1"));

    assertEquals(Set.of("a/", "a/b/", "a/b/c 1"), tree());
    assertEquals(0755, inode("a/b").attributes().permissions());
  }

  @Test
  void attributesThatOnlyAnOverlayOrAnotherSystemKnowsAreDropped() throws IOException {
    apply(
        layer()
            .pax(
                "SCHILY.xattr.trusted.overlay.opaque", "y",
                "SCHILY.xattr.com.apple.x", "y",
                "SCHILY.xattr.user.kept", "y")
            .directory("d"));

    assertEquals(
        ExtendedAttributes.of(Map.of("user.kept", new byte[] {'y'})),
        inode("d").attributes().extended());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "..",
        "../a",
        "a/../../b",
        "a/..",
        "/../a",
        "/",
        "./../a",
        "a/.wh...",
        ".wh..",
        ".wh."
      })
  void namesThatLeadOutAreRefused(String name) throws IOException {
    assertThrows(IllegalArgumentException.class, () -> apply(layer().file(name, "x")));
    assertEquals(Set.of(), tree());
  }

  @Test
  void componentsOver255BytesAreRefused() {
    TarMaker layer = layer().pax("path", "a/" + "x".repeat(256)).file("x", "");

    assertThrows(IllegalArgumentException.class, () -> apply(layer));
  }

  @ParameterizedTest
  @ValueSource(strings = {"missing", "self", "dir", "../x", "f/x", ".", "loop/x"})
  void hardLinksToNoFileAreRefused(String target) throws IOException {
    apply(layer().directory("dir/").file("f", "1").symbolicLink("loop", "loop"));

    assertThrows(IllegalArgumentException.class, () -> apply(layer().hardLink("self", target)));
  }

  @Test
  void hardLinksInACycleAreRefused() {
    assertThrows(
        IllegalArgumentException.class, () -> apply(layer().hardLink("a", "b").hardLink("b", "a")));
  }

  @Test
  void aHardLinkThatReplacesItsOwnTargetIsRefused() throws IOException {
    apply(layer().file("a/b", "1"));

    assertThrows(IllegalArgumentException.class, () -> apply(layer().hardLink("a", "a/b")));
  }

  @Test
  void aFileIsNoParent() throws IOException {
    apply(layer().file("f", "1"));

    assertThrows(IllegalArgumentException.class, () -> apply(layer().file("f/x", "1")));
  }

  @Test
  void linksInACircleAreRefused() throws IOException {
    apply(layer().symbolicLink("a", "b").symbolicLink("b", "a"));

    assertThrows(IllegalArgumentException.class, () -> apply(layer().file("a/x", "1")));
  }

  @Test
  void whatExt4CannotHoldIsRefused() {
    assertThrows(
        IllegalArgumentException.class,
        () -> apply(layer().pax("uid", "4294967296").directory("d")));
    assertThrows(
        IllegalArgumentException.class,
        () -> apply(layer().add(TarMaker.header('3', "d").device(4096, 0))));
    assertThrows(
        IllegalArgumentException.class, () -> apply(layer().add(TarMaker.header('2', "link"))));
    assertThrows(IllegalArgumentException.class, () -> apply(layer().file(".", "x")));
  }

  @Test
  void attributesThatTakeMoreThanABlockAreRefusedByName() {
    String[] attributes = {
      "SCHILY.xattr.user.x", "x".repeat(5000), "SCHILY.xattr.security.selinux", "label"
    };

    String message =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class,
                    () -> apply(layer().pax(attributes).directory("d")))
                .getMessage());

    assertTrue(message.contains("'user.x' with 5000 bytes"), message);
    assertTrue(message.contains("Nacelle's filesystems"), message);
  }

  @Test
  void entriesAreCountedWithTheDirectoriesThatTheyImply() throws IOException {
    applier = new LayerApplier(writer, ImageLimits.DEFAULT.withEntries(4));
    apply(layer().file("a/b", "1").file("c", "1"));

    assertThrows(ImageException.class, () -> apply(layer().file("d/e", "1")));
  }

  @Test
  void namesLinksAndAttributesAreCounted() {
    ImageLimits limits =
        new ImageLimits(
            DataSize.mebibytes(1),
            10,
            100_000,
            DataSize.kibibytes(8),
            4096,
            DataSize.mebibytes(1),
            DataSize.mebibytes(1));
    applier = new LayerApplier(writer, limits);
    TarMaker layer = layer();
    for (int i = 0; i < 100; i++) {
      layer.symbolicLink("link" + i, "x".repeat(99));
    }

    assertThrows(ImageException.class, () -> apply(layer));
  }

  @Test
  void pathsOverTheLimitAreRefused() {
    TarMaker layer = layer().pax("path", "x/".repeat(2048) + "y").file("x", "");

    assertThrows(IllegalArgumentException.class, () -> apply(layer));
  }

  @Test
  void treesDeeperThanAnyPathAreNoTrouble() throws IOException {
    apply(layer().pax("path", "x/".repeat(2000) + "y").file("", ""));
    apply(layer().pax("linkpath", "x/".repeat(2000)).symbolicLink("s", ""));
    apply(layer().pax("path", "s/" + "z/".repeat(2000) + "y").file("", ""));
    assertEquals(2000 + 1 + 1 + 2000 + 1, tree().size());

    apply(layer().file(".wh.x", ""));
    assertEquals(1, tree().size());
  }

  /** Each mark by itself searches the directory, so together they would take hours. */
  @Test
  void manyOpaqueMarksCostNoMoreThanOne() throws IOException {
    applier = new LayerApplier(writer, ImageLimits.DEFAULT);
    TarMaker layer = layer();
    for (int i = 0; i < 100_000; i++) {
      layer.add(TarMaker.header('6', "d/" + i));
    }
    for (int i = 0; i < 100_000; i++) {
      layer.file("d/.wh..wh..opq", "");
    }
    apply(layer().file("d/lower", "1"));
    apply(layer);

    assertEquals(100_001, tree().size());
  }

  @Test
  void whatAnOpaqueMarkLeftEmptyStaysOpenForTheNextLayer() throws IOException {
    apply(layer().file("d/a", "1"));
    apply(layer().file("d/.wh..wh..opq", "").file("d/b", "2"));
    apply(layer().file("d/.wh..wh..opq", "").file("d/c", "3"));

    assertEquals(Set.of("d/", "d/c 1"), tree());
  }

  @Test
  void singleBytesBetweenHolesCountAsTheBlocksThatTheyTake() {
    applier = new LayerApplier(writer, ImageLimits.DEFAULT.withUnpackedSize(DataSize.mebibytes(1)));
    StringBuilder map = new StringBuilder();
    for (int i = 0; i < 1000; i++) {
      map.append(i == 0 ? "" : ",").append(i * 10_000L).append(",1");
    }
    TarMaker layer =
        layer()
            .pax("GNU.sparse.map", map.toString(), "GNU.sparse.size", "10000000")
            .file("f", "x".repeat(1000));

    assertThrows(ImageException.class, () -> apply(layer));
  }
}
