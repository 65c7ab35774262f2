// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static dev.nacelle.image.testing.LayoutMaker.CONFIG;
import static dev.nacelle.image.testing.LayoutMaker.GZIP;
import static dev.nacelle.image.testing.LayoutMaker.MANIFEST;
import static dev.nacelle.image.testing.LayoutMaker.TAR;
import static dev.nacelle.image.testing.LayoutMaker.descriptor;
import static dev.nacelle.image.testing.LayoutMaker.digest;
import static dev.nacelle.image.testing.LayoutMaker.gzip;
import static dev.nacelle.image.testing.LayoutMaker.with;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.PrunePolicy;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.oci.Digests;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.testing.AwkwardTree;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImageStoreTest {
  private static final String AMD64 = "linux/amd64";

  @TempDir Path temp;
  private LayoutMaker layout;
  private ImageStore store;
  private ImageRef ref;

  @BeforeEach
  void makeLayout() throws IOException {
    layout = new LayoutMaker(temp.resolve("layout"));
    store = new ImageStore(temp.resolve("store"));
    ref = ImageRef.ociLayout(layout.directory());
  }

  private static byte[] tar(String name, String content) {
    return new TarMaker().file(name, content).finish();
  }

  private ImageException fault() {
    ImageException fault = assertThrows(ImageException.class, () -> store.resolve(ref));
    assertNothingIsLeft();
    return fault;
  }

  private void assertFault(String... parts) {
    ImageException fault = fault();
    String message = fault.reason() + ": " + fault.getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), "'" + part + "' in: " + message);
    }
  }

  private void assertNothingIsLeft() {
    Path filesystems = temp.resolve("store/filesystems");
    if (Files.exists(filesystems)) {
      try (Stream<Path> files = Files.list(filesystems)) {
        assertEquals(List.of(), files.filter(f -> f.toString().endsWith(".partial")).toList());
      } catch (IOException e) {
        throw new AssertionError(e);
      }
    }
  }

  private static Set<String> paths(ResolvedImage image) throws IOException {
    MountedImage.check(image.filesystem());
    try (MountedImage mounted = MountedImage.mount(image.filesystem(), "ro")) {
      return TreeListing.of(mounted.root()).paths();
    }
  }

  @Test
  void layersBecomeOneFilesystem() throws IOException {
    Layer first = layout.gzipLayer(new TarMaker().file("a", "1").file("b", "1").finish());
    Layer second = layout.gzipLayer(new TarMaker().file(".wh.a", "").file("c", "2").finish());
    layout.add(layout.image(AMD64, first, second));

    assertEquals(Set.of("", "b", "c"), paths(store.resolve(ref)));
  }

  @Test
  void anImageWithoutLayersIsAnEmptyFilesystem() throws IOException {
    layout.add(layout.image(AMD64));

    assertEquals(Set.of(""), paths(store.resolve(ref)));
  }

  @Test
  void theSecondTimeNoLayerIsRead() throws IOException {
    Layer layer = layout.gzipLayer(tar("a", "1"));
    layout.add(layout.image(AMD64, layer));
    ResolvedImage first = store.resolve(ref);
    try (Stream<Path> blobs = Files.walk(layout.directory().resolve("blobs"))) {
      for (Path blob : blobs.filter(Files::isRegularFile).toList()) {
        if (Files.readAllBytes(blob)[0] == 0x1f) {
          Files.delete(blob);
        }
      }
    }

    assertEquals(first, new ImageStore(temp.resolve("store")).resolve(ref));
  }

  @Test
  void layersThatAreAFilesystemAlreadyAreNotReadAgain() throws IOException {
    AwkwardTree.make(Files.createDirectory(temp.resolve("tree")));
    AwkwardTree.addWhatPaxCanHold(temp.resolve("tree"));
    Tool.script(
        temp,
        "tar -C tree -cf layer.tar --numeric-owner --xattrs '--xattrs-include=*' --format=pax .;"
            + " rm -r tree");
    byte[] tar = Files.readAllBytes(temp.resolve("layer.tar"));
    Layer first = layout.layer(TAR, tar, tar);
    Layer second =
        layout.gzipLayer(
            new TarMaker()
                .file("deep/.wh..wh..opq", "")
                .file(".wh.dev", "")
                .file("usr/lib/text", "new")
                .hardLink("linked", "usr/bin/tool")
                .finish());
    Layer third = layout.gzipLayer(new TarMaker().file(".wh.linked", "").file("x", "3").finish());
    layout.tag(layout.image(AMD64, first, second, third), "whole");
    layout.tag(layout.image(AMD64, first), "base");
    ImageRef whole = ImageRef.parse("oci:" + layout.directory() + ":whole");
    Path expected = new ImageStore(temp.resolve("other")).resolve(whole).filesystem();
    store.resolve(ImageRef.parse("oci:" + layout.directory() + ":base"));
    Files.delete(layout.blobFile(digest(tar)));

    Path built = store.resolve(whole).filesystem();
    MountedImage.check(built);
    try (MountedImage one = MountedImage.mount(expected, "ro");
        MountedImage other = MountedImage.mount(built, "ro")) {
      TreeListing tree = TreeListing.of(one.root());
      assertEquals("", tree.differences(TreeListing.of(other.root())));
      assertTrue(tree.paths().contains("x"));
    }
  }

  private ImageRef tagged(String tag) {
    return ImageRef.parse("oci:" + layout.directory() + ":" + tag);
  }

  /** An image's tree, in a store of its own, so that nothing was there before. */
  private TreeListing expected(String tag) throws IOException {
    return tree(new ImageStore(temp.resolve("other-" + tag)).resolve(tagged(tag)));
  }

  private static TreeListing tree(ResolvedImage image) throws IOException {
    MountedImage.check(image.filesystem());
    try (MountedImage mounted = MountedImage.mount(image.filesystem(), "ro")) {
      return TreeListing.of(mounted.root());
    }
  }

  /**
   * Three images with one or two layers in common, of which each replaces, removes and adds what
   * the others do not. Returns the trees that they should have, and deletes the layers in common.
   */
  private List<TreeListing> siblings() throws IOException {
    byte[] first = new TarMaker().file("a", "1").file("d/b", "1").file("d/c", "1").finish();
    byte[] second =
        new TarMaker().file("e", "2".repeat(20_000)).file("d/.wh.c", "").file("d/b", "2").finish();
    Layer bottom = layout.layer(TAR, first, first);
    Layer middle = layout.layer(TAR, second, second);
    Layer x = layout.gzipLayer(new TarMaker().file(".wh.a", "").file("e", "much more").finish());
    Layer y = layout.gzipLayer(new TarMaker().file("d/.wh..wh..opq", "").file("d/y", "").finish());
    Layer z = layout.gzipLayer(new TarMaker().file("z", "3").file("a", "3").finish());
    layout.tag(layout.image(AMD64, bottom, middle, x), "x");
    layout.tag(layout.image(AMD64, bottom, middle, y), "y");
    layout.tag(layout.image(AMD64, bottom, z), "z");
    List<TreeListing> trees = List.of(expected("x"), expected("y"), expected("z"));
    store.resolve(tagged("x"));
    Files.delete(layout.blobFile(digest(first)));
    Files.delete(layout.blobFile(digest(second)));
    return trees;
  }

  @Test
  void layersInCommonWithAnotherImageAreNotReadAgain() throws IOException {
    List<TreeListing> expected = siblings();
    assertEquals("", expected.get(1).differences(tree(store.resolve(tagged("y")))));
    assertEquals("", expected.get(2).differences(tree(store.resolve(tagged("z")))));
    assertEquals("", expected.get(0).differences(tree(store.resolve(tagged("x")))));
  }

  @Test
  void layersInCommonOutliveTheImageThatHadThemFirst() throws IOException {
    List<TreeListing> expected = siblings();
    store.resolve(tagged("y"));
    Path x = store.resolve(tagged("x")).filesystem();
    try (ImageLease kept = store.lease(tagged("y"), Platform.LINUX_AMD64, PullPolicy.MISSING)) {
      assertEquals(1, store.prune(PrunePolicy.everything()).removed().size());
      assertTrue(Files.exists(kept.image().filesystem()));
    }
    assertFalse(Files.exists(x));
    assertEquals("", expected.get(0).differences(tree(store.resolve(tagged("x")))));
  }

  @Test
  void siblingsCanBeBuiltAtTheSameTime() throws Exception {
    List<TreeListing> expected = siblings();
    CompletableFuture<ResolvedImage> y =
        CompletableFuture.supplyAsync(() -> store.resolve(tagged("y")));
    CompletableFuture<ResolvedImage> z =
        CompletableFuture.supplyAsync(
            () -> new ImageStore(temp.resolve("store")).resolve(tagged("z")));
    assertEquals("", expected.get(1).differences(tree(y.get())));
    assertEquals("", expected.get(2).differences(tree(z.get())));
  }

  /** Two images with the first layer in common, of which the first is in the store. */
  private Path firstOfTwo() throws IOException {
    Layer first = layout.gzipLayer(tar("a", "1".repeat(100_000)));
    layout.tag(layout.image(AMD64, first, layout.gzipLayer(tar("b", "2"))), "one");
    layout.tag(layout.image(AMD64, first, layout.gzipLayer(tar("c", "3"))), "other");
    return store.resolve(tagged("one")).filesystem();
  }

  private static void overwrite(Path file, long offset, byte[] bytes) throws IOException {
    Tool.run(file.getParent(), "chmod", "u+w", file.toString());
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(bytes), offset);
    }
  }

  @Test
  void damagedListsOfPartsArePassedOver() throws IOException {
    Path whole = firstOfTwo();
    byte[] list = Arrays.copyOf(Files.readAllBytes(whole), 1024);
    for (int at : new int[] {0, 15, 16, 40, 48, 50, 52}) {
      byte[] damaged = list.clone();
      damaged[at] ^= 0x55;
      if (Files.exists(whole)) {
        overwrite(whole, 0, damaged);
      }
      Path built = store.resolve(tagged("other")).filesystem();
      assertEquals(Set.of("", "a", "c"), paths(store.resolve(tagged("other"))));
      Files.delete(built);
    }
  }

  @Test
  void aPartThatCannotBeReadGoesWithItsFilesystem() throws IOException {
    Path whole = firstOfTwo();
    int table = ByteBuffer.wrap(Files.readAllBytes(whole)).getInt(48);
    overwrite(whole, table * 4096L, new byte[4096]);

    assertEquals(Set.of("", "a", "c"), paths(store.resolve(tagged("other"))));
    assertFalse(Files.exists(whole));
    assertEquals(Set.of("", "a", "b"), paths(store.resolve(tagged("one"))));
  }

  @Test
  void aFilesystemThatWasMadeAnewIsNotReadWhereTheOldOneHadItsParts() throws IOException {
    Layer first = layout.gzipLayer(tar("a", "1".repeat(100_000)));
    Layer second =
        layout.gzipLayer(new TarMaker().file(".wh.a", "").file("b", "2".repeat(100_000)).finish());
    layout.tag(layout.image(AMD64, first, second), "base");
    layout.tag(layout.image(AMD64, first, second, layout.gzipLayer(tar("c", "3"))), "one");
    layout.tag(layout.image(AMD64, first, second, layout.gzipLayer(tar("d", "4"))), "other");
    Path whole = store.resolve(tagged("one")).filesystem();
    int old = ByteBuffer.wrap(Files.readAllBytes(whole)).getInt(48 + 40);
    Files.delete(whole);
    // The same layers again, but from where nothing is left of the removed file.
    Path base = store.resolve(tagged("base")).filesystem();
    store.resolve(tagged("one"));
    Files.delete(base);
    assertNotEquals(old, ByteBuffer.wrap(Files.readAllBytes(whole)).getInt(48));

    assertEquals(Set.of("", "b", "d"), paths(store.resolve(tagged("other"))));
    assertTrue(Files.exists(whole), "it was read, and found good");
  }

  @Test
  void layersThatWeighLessThanTheTreeBelowThemMakeNoFilesystemGrow() throws IOException {
    TarMaker directories = new TarMaker();
    for (int i = 0; i < 500; i++) {
      directories.directory("d" + i + "/");
    }
    List<Layer> layers = new ArrayList<>(List.of(layout.gzipLayer(directories.finish())));
    layout.tag(layout.image(AMD64, layers.get(0)), "alone");
    for (int i = 0; i < 50; i++) {
      layers.add(layout.gzipLayer(tar("f" + i, "1")));
    }
    layout.tag(layout.image(AMD64, layers.toArray(Layer[]::new)), "many");

    long alone =
        Files.size(new ImageStore(temp.resolve("other")).resolve(tagged("alone")).filesystem());
    long many = Files.size(store.resolve(tagged("many")).filesystem());
    assertTrue(many < alone + 50 * 4096 + 100_000, many + " and " + alone);
  }

  @Test
  void aDamagedFilesystemOfTheFirstLayersIsPassedOverAndRemoved() throws IOException {
    Layer first = layout.gzipLayer(tar("a", "1"));
    layout.tag(layout.image(AMD64, first), "base");
    layout.tag(layout.image(AMD64, first, layout.gzipLayer(tar("b", "2"))), "whole");
    Path base = store.resolve(tagged("base")).filesystem();
    Tool.run(temp, "chmod", "u+w", base.toString());
    Files.write(base, new byte[100_000]);

    assertEquals(Set.of("", "a", "b"), paths(store.resolve(tagged("whole"))));
    assertFalse(Files.exists(base));
  }

  @Test
  void aFilesystemThatBecameAVirtualDiskStaysOne() throws IOException {
    Layer first = layout.gzipLayer(tar("a", "1"));
    layout.tag(layout.image(AMD64, first), "base");
    layout.tag(layout.image(AMD64, first, layout.gzipLayer(tar("b", "2"))), "whole");
    Path base = store.resolve(tagged("base")).filesystem();
    Files.write(base, new byte[512], StandardOpenOption.APPEND);
    byte[] content = Files.readAllBytes(base);

    assertEquals(Set.of("", "a"), paths(store.resolve(tagged("base"))));
    assertEquals(Set.of("", "a", "b"), paths(store.resolve(tagged("whole"))));
    assertArrayEquals(content, Files.readAllBytes(base));

    // Part of a footer, or more than one, is damage.
    for (int more : new int[] {1, 511, 513, 4096}) {
      Path file = store.resolve(tagged("base")).filesystem();
      Files.write(file, Arrays.copyOf(content, content.length - 512 + more));
      assertEquals(content.length - 512, Files.size(store.resolve(tagged("base")).filesystem()));
    }
  }

  @Test
  void aFilesystemThatLostItsEndIsMadeAnewUnlessItIsInUse() throws IOException {
    layout.add(layout.image(AMD64, layout.gzipLayer(tar("a", "1".repeat(100_000)))));
    Path whole = store.resolve(ref).filesystem();
    byte[] content = Files.readAllBytes(whole);
    Tool.run(temp, "truncate", "-s", "-4096", whole.toString());
    assertEquals(whole, store.resolve(ref).filesystem());
    assertArrayEquals(content, Files.readAllBytes(whole));

    try (ImageLease lease = store.lease(ref, Platform.LINUX_AMD64, PullPolicy.MISSING)) {
      Tool.run(temp, "truncate", "-s", "-4096", whole.toString());
      String message = String.valueOf(fault().getMessage());
      assertTrue(message.contains("its superblock says " + content.length), message);
      assertTrue(Files.exists(lease.image().filesystem()));
    }
    assertArrayEquals(content, Files.readAllBytes(store.resolve(ref).filesystem()));
  }

  @ParameterizedTest
  @ValueSource(strings = {"application/octet-stream", "application/json", "text/html", ""})
  void oldImagesOfDockerCallTheirConfigurationAnything(String type) throws IOException {
    Layer layer = layout.gzipLayer(tar("a", "1"));
    String config = layout.blob(type, LayoutMaker.config(AMD64, "{}", List.of(layer)));
    String docker = "application/vnd.docker.distribution.manifest.v2+json";
    String manifest = LayoutMaker.manifest(config, List.of(layer));
    layout.tag(layout.blob(MANIFEST, manifest), "oci");
    String dockers = manifest.replace(MANIFEST, docker);
    layout.tag(layout.blob(docker, dockers), "docker");
    layout.tag(layout.blob(docker, dockers.replace("\"mediaType\":\"\",", "")), "without");

    assertEquals(Set.of("", "a"), paths(store.resolve(tagged("docker"))));
    assertEquals(Set.of("", "a"), paths(store.resolve(tagged("without"))));
    ref = tagged("oci");
    assertFault("is no container image");
  }

  @Test
  void imagesOfTheSameLayersShareAFilesystem() throws IOException {
    byte[] tar = tar("a", "1");
    Layer packed = layout.gzipLayer(tar);
    Layer plain = layout.layer(TAR, tar, tar);
    layout.tag(layout.image(AMD64, packed), "packed");
    layout.tag(layout.image(AMD64, plain), "plain");

    ResolvedImage one = store.resolve(ImageRef.parse("oci:" + layout.directory() + ":packed"));
    ResolvedImage other = store.resolve(ImageRef.parse("oci:" + layout.directory() + ":plain"));

    assertEquals(one.filesystem(), other.filesystem());
    assertNotEquals(one.digest(), other.digest());
  }

  @Test
  void theSameLayersGiveTheSameBytesEverywhere() throws IOException {
    layout.add(layout.image(AMD64, layout.gzipLayer(tar("a", "1"))));
    Path one = store.resolve(ref).filesystem();
    Path other = new ImageStore(temp.resolve("other")).resolve(ref).filesystem();

    assertEquals(-1, Files.mismatch(one, other));
  }

  @Test
  void theConfigurationIsRead() throws IOException {
    String json =
        """
        {"Env":["PATH=/bin","A="],"Entrypoint":["/init"],"Cmd":["a","b"],"WorkingDir":"/srv",
         "User":"1:2","StopSignal":"SIGINT","Labels":{"x":"y"},
         "ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}}}""";
    String config = layout.blob(CONFIG, LayoutMaker.config(AMD64, json, List.of()));
    layout.add(layout.blob(MANIFEST, LayoutMaker.manifest(config, List.of())));

    assertEquals(
        ImageConfig.builder(Platform.LINUX_AMD64)
            .environment(List.of("PATH=/bin", "A="))
            .entrypoint(List.of("/init"))
            .command(List.of("a", "b"))
            .workingDirectory("/srv")
            .user("1:2")
            .stopSignal("SIGINT")
            .labels(Map.of("x", "y"))
            .exposedPorts(Set.of("80/tcp"))
            .volumes(Set.of("/data"))
            .build(),
        store.resolve(ref).config());
  }

  @Test
  void absentAndNullPartsOfTheConfigurationAreEmpty() throws IOException {
    String config =
        layout.blob(
            CONFIG,
            LayoutMaker.config(AMD64, "{\"Env\":null,\"Labels\":null,\"Cmd\":null}", List.of()));
    layout.add(layout.blob(MANIFEST, LayoutMaker.manifest(config, List.of())));

    ImageConfig read = store.resolve(ref).config();
    assertEquals(List.of(), read.environment());
    assertEquals(Optional.empty(), read.user());
    assertEquals(Map.of(), read.labels());
  }

  @Test
  void dockersMediaTypesAreUnderstood() throws IOException {
    String docker = "application/vnd.docker.";
    byte[] tar = tar("a", "1");
    Layer layer = layout.layer(docker + "image.rootfs.diff.tar.gzip", gzip(tar), tar);
    String config =
        layout.blob(
            docker + "container.image.v1+json", LayoutMaker.config(AMD64, "{}", List.of(layer)));
    String manifest =
        layout.blob(
            docker + "distribution.manifest.v2+json", LayoutMaker.manifest(config, List.of(layer)));
    layout.add(
        layout.blob(
            docker + "distribution.manifest.list.v2+json",
            "{\"schemaVersion\":2,\"manifests\":[" + manifest + "]}"));

    assertEquals(Set.of("", "a"), paths(store.resolve(ref)));
  }

  @Test
  void blobsMayHaveSha512Digests() throws IOException {
    byte[] tar = tar("a", "1");
    byte[] packed = gzip(tar);
    Layer layer = new Layer(layout.blob(GZIP, "sha512", packed), digest("sha512", tar));
    layout.add(layout.image(AMD64, layer));

    assertEquals(Set.of("", "a"), paths(store.resolve(ref)));
    Files.write(layout.blobFile(digest("sha512", packed)), gzip(tar("a", "2")));
    store = new ImageStore(temp.resolve("other"));
    assertFault("is damaged");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gzip -1",
        "gzip -9",
        "zstd -1",
        "zstd -19",
        "zstd --rsyncable -T2",
        "zstd --ultra -22 --long=27",
        "pzstd -c -p 4",
        "cat"
      })
  void everyCompressionIsUnpacked(String compressor) throws IOException {
    byte[] tar = tar("a", "compress me ".repeat(100_000));
    Path file = Files.write(temp.resolve("layer.tar"), tar);
    Tool.script(temp, compressor + " <layer.tar >packed");
    byte[] packed = Files.readAllBytes(temp.resolve("packed"));
    // The content decides and not the type, as with container engines.
    for (String type : List.of(TAR, GZIP, TAR + "+zstd")) {
      layout.tag(layout.image(AMD64, layout.layer(type, packed, tar)), type.replaceAll("\\W", ""));
      ref = ImageRef.parse("oci:" + layout.directory() + ":" + type.replaceAll("\\W", ""));
      store = new ImageStore(temp.resolve(type.replaceAll("\\W", "")));
      assertEquals(Set.of("", "a"), paths(store.resolve(ref)));
    }
    Files.delete(file);
  }

  @Test
  void skippableFramesOfZstdAreSkippedWhereverTheyAre() throws IOException {
    byte[] tar = tar("a", "x".repeat(200_000));
    Files.write(temp.resolve("layer.tar"), tar);
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    Tool.script(
        temp, "split -n 2 layer.tar part. && zstd -c part.aa >one.zst && zstd -c part.ab >two.zst");
    packed.write(skippable(0x50, 0));
    packed.write(Files.readAllBytes(temp.resolve("one.zst")));
    packed.write(skippable(0x5a, 300_000));
    packed.write(skippable(0x51, 3));
    packed.write(Files.readAllBytes(temp.resolve("two.zst")));
    // As the table of contents is at the end of what podman calls zstd:chunked.
    packed.write(skippable(0x5f, 100));
    layout.add(layout.image(AMD64, layout.layer(TAR + "+zstd", packed.toByteArray(), tar)));

    assertEquals(Set.of("", "a"), paths(store.resolve(ref)));
  }

  private static byte[] skippable(int magic, int length) {
    return ByteBuffer.allocate(8 + length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(0x184d2a00 | magic)
        .putInt(length)
        .array();
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "zstd"})
  void aCompressedStreamMayHaveSeveralParts(String compressor) throws IOException {
    byte[] tar = tar("a", "x".repeat(200_000));
    Files.write(temp.resolve("layer.tar"), tar);
    Tool.script(
        temp,
        "split -b 50000 layer.tar part. && for p in part.*; do "
            + compressor
            + " -c $p >>packed; done");
    byte[] packed = Files.readAllBytes(temp.resolve("packed"));
    layout.add(layout.image(AMD64, layout.layer(TAR + "+" + compressor, packed, tar)));

    assertEquals(Set.of("", "a"), paths(store.resolve(ref)));
  }

  @Test
  void aTagOrADigestChooses() throws IOException {
    String one = layout.image(AMD64, layout.gzipLayer(tar("one", "1")));
    String two = layout.image(AMD64, layout.gzipLayer(tar("two", "2")));
    layout.tag(one, "v1").tag(two, "v2.0/x");

    assertFault("AMBIGUOUS: ", "more than one image: v1, v2.0/x", "Add a tag");
    ref = ImageRef.parse("oci:" + layout.directory() + ":v2.0/x");
    ResolvedImage tagged = store.resolve(ref);
    assertEquals(Set.of("", "two"), paths(tagged));
    assertEquals(tagged.filesystem(), store.resolve(tagged.pinnedRef()).filesystem());
    store = new ImageStore(temp.resolve("other"));
    ref = ImageRef.parse("oci:" + layout.directory() + ":v3");
    assertFault("NOT_FOUND: ", "no image of that tag", "There are: v1, v2.0/x");
    ref = ImageRef.ociLayout(layout.directory()).withDigest(Digests.sha256("x"));
    assertFault("NOT_FOUND: ", "no image of that digest");
  }

  @Test
  void theSameImageUnderTwoNamesIsOneImage() throws IOException {
    String image = layout.image(AMD64, layout.gzipLayer(tar("one", "1")));
    layout.tag(image, "v1").tag(image, "latest");

    assertEquals(Set.of("", "one"), paths(store.resolve(ref)));
  }

  @Test
  void indexesInIndexesAreSearchedForThePlatform() throws IOException {
    String arm = layout.image("linux/arm64/v8", layout.gzipLayer(tar("arm", "1")));
    String amd = layout.image(AMD64, layout.gzipLayer(tar("amd", "1")));
    String v3 = layout.image("linux/amd64/v3", layout.gzipLayer(tar("v3", "1")));
    String attestation = layout.image("unknown/unknown");
    String inner =
        layout.index(
            with(arm, platform("linux", "arm64")),
            with(attestation, platform("unknown", "unknown")),
            with(descriptor(MANIFEST, digest(new byte[1]), 1), platform("linux", "s390x")),
            descriptor("application/x-something", digest(new byte[2]), 2),
            v3,
            with(amd, platform("linux", "amd64")));
    layout.add(layout.index(inner));

    assertEquals(Set.of("", "amd"), paths(store.resolve(ref)));
    ref = ref.withDigest(Digest.parse(amd.replaceAll(".*(sha256:[0-9a-f]{64}).*", "$1")));
    assertEquals(Set.of("", "amd"), paths(store.resolve(ref)));
  }

  private static String platform(String os, String architecture) {
    return "\"platform\":{\"os\":\"" + os + "\",\"architecture\":\"" + architecture + "\"}";
  }

  @Test
  void anImageForAnotherPlatformListsWhatThereIs() throws IOException {
    String arm = layout.image("linux/arm64", layout.gzipLayer(tar("arm", "1")));
    String windows = layout.image("windows/amd64", layout.gzipLayer(tar("win", "1")));
    layout.add(layout.index(with(arm, platform("linux", "arm64")), windows));

    assertFault(
        "WRONG_PLATFORM: ",
        "is not for linux/amd64, but for linux/arm64, windows/amd64",
        "Choose an image");
  }

  @Test
  void anImageWhoseIndexLiesAboutItsPlatformIsFoundOut() throws IOException {
    String arm = layout.image("linux/arm64", layout.gzipLayer(tar("arm", "1")));
    layout.add(with(arm, platform("linux", "amd64")));

    assertFault("is not for linux/amd64, but for linux/arm64");
  }

  @Test
  void whatIsNoContainerImageIsSaidToBeNone() throws IOException {
    String config = layout.blob("application/vnd.cncf.helm.config.v1+json", "{}");
    layout.add(layout.blob(MANIFEST, LayoutMaker.manifest(config, List.of())));

    assertFault(
        "UNSUPPORTED: ", "is no container image", "application/vnd.cncf.helm.config.v1+json");
  }

  @Test
  void aDirectoryThatIsNoLayoutIsSaidToBeNone() throws IOException {
    ref = ImageRef.ociLayout(temp.resolve("missing"));
    assertFault("NOT_FOUND: ", "No such directory", "missing");
    ref = ImageRef.ociLayout(Files.createFile(temp.resolve("file")));
    assertFault("No directory");
    ref = ImageRef.ociLayout(Files.createDirectory(temp.resolve("empty")));
    assertFault("UNSUPPORTED: ", "oci-layout is missing");
    ref = ImageRef.ociLayout(layout.directory());
    assertFault("there is no image in it");
    Files.writeString(layout.directory().resolve("oci-layout"), "{\"imageLayoutVersion\":\"2\"}");
    assertFault("UNSUPPORTED: ", "unknown image layout version '2'");
    Files.writeString(layout.directory().resolve("oci-layout"), "[]");
    assertFault("DAMAGED: ", "oci-layout is no JSON object");
  }

  @Test
  void aLayerWithAnotherDigestIsDamaged() throws IOException {
    byte[] good = gzip(tar("a", "1"));
    layout.add(layout.image(AMD64, layout.layer(GZIP, good, tar("a", "1"))));
    byte[] other = gzip(tar("a", "2"));
    assertEquals(good.length, other.length);
    Files.write(layout.blobFile(digest(good)), other);

    assertFault("DAMAGED: ", "blob " + digest(good), "is damaged", "digest " + digest(other));
  }

  @Test
  void aLayerOfAnotherLengthIsDamaged() throws IOException {
    byte[] tar = tar("a", "1");
    byte[] blob = gzip(tar);
    layout.add(layout.image(AMD64, layout.layer(GZIP, blob, tar)));
    Files.write(layout.blobFile(digest(blob)), Arrays.copyOf(blob, blob.length - 1));
    assertFault("is damaged", "its descriptor says " + blob.length);
    Files.write(layout.blobFile(digest(blob)), Arrays.copyOf(blob, blob.length + 1));
    assertFault("is damaged", "more than the " + blob.length + " bytes");
  }

  @Test
  void aLayerThatUnpacksToAnotherDigestIsRefused() throws IOException {
    byte[] tar = tar("a", "1");
    byte[] promised = tar("a", "2");
    layout.add(layout.image(AMD64, layout.layer(GZIP, gzip(tar), promised)));

    assertFault("DAMAGED: ", "Layer 1 of 1", digest(tar), "its diff_id is " + digest(promised));
  }

  @Test
  void aCorruptStreamIsRefused() throws IOException {
    byte[] tar = tar("a", "some text that is long enough ".repeat(100));
    byte[] packed = gzip(tar);
    packed[packed.length / 2] ^= 0x55;
    layout.add(layout.image(AMD64, layout.layer(GZIP, packed, tar)));

    assertFault("DAMAGED: ", "Layer 1 of 1", "its gzip stream is corrupt");
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "zstd"})
  void aTruncatedStreamIsRefused(String compressor) throws IOException {
    byte[] tar = tar("a", "some text that is long enough ".repeat(100));
    Files.write(temp.resolve("layer.tar"), tar);
    Tool.script(temp, compressor + " -c layer.tar >packed");
    byte[] packed = Files.readAllBytes(temp.resolve("packed"));
    for (int cut : new int[] {1, 8, 9, packed.length / 2, packed.length - 5}) {
      layout = new LayoutMaker(temp.resolve("cut" + cut));
      ref = ImageRef.ociLayout(layout.directory());
      byte[] part = Arrays.copyOf(packed, packed.length - cut);
      layout.add(layout.image(AMD64, layout.layer(TAR + "+" + compressor, part, tar)));

      assertFault("Layer 1 of 1", "its " + compressor + " stream is corrupt");
    }
  }

  @Test
  void garbageBehindACompressedStreamIsRefused() throws IOException {
    byte[] tar = tar("a", "1");
    byte[] packed = gzip(tar);
    byte[] longer = Arrays.copyOf(packed, packed.length + 100);
    Arrays.fill(longer, packed.length, longer.length, (byte) 'x');
    layout.add(layout.image(AMD64, layout.layer(GZIP, longer, tar)));

    assertFault("its gzip stream is corrupt");
  }

  @Test
  void aBlobThatIsNeitherCompressedNorAnArchiveIsRefused() throws IOException {
    byte[] text = "no archive, but long enough for one. ".repeat(100).getBytes(UTF_8);
    layout.add(layout.image(AMD64, layout.layer(GZIP, text, text)));

    assertFault("Layer 1 of 1", "at byte 0 of the archive: ");
  }

  @Test
  void aTruncatedArchiveIsRefused() throws IOException {
    byte[] tar = Arrays.copyOf(tar("a", "x".repeat(10_000)), 5000);
    layout.add(layout.image(AMD64, layout.gzipLayer(tar)));

    assertFault("DAMAGED: ", "entry 'a'", "the archive is truncated");
  }

  @Test
  void aLayerCutAtAnyBlockIsRefusedOrNotWhatItWasAndLeavesNothing() throws IOException {
    byte[] tar =
        new TarMaker()
            .directory("d/")
            .pax("mtime", "1.5")
            .file("d/a", "x".repeat(1500))
            .hardLink("b", "d/a")
            .finish();
    for (int length = 0; length < tar.length; length += length % 512 == 0 ? 1 : 511) {
      byte[] part = Arrays.copyOf(tar, length);
      layout = new LayoutMaker(temp.resolve("cut" + length));
      layout.add(layout.image(AMD64, layout.layer(GZIP, gzip(part), tar)));
      ref = ImageRef.parse("oci:" + layout.directory());

      assertFault("Layer 1 of 1 (" + digest(gzip(part)) + ")");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "9223372036854775807, larger than 16 TiB",
    "17592186044416, larger than 16 TiB",
    "8796093022208, the archive is truncated",
    "9223372036854775808, no number of 63 bits"
  })
  void absurdSizesOfFilesAreRefusedWithLayerEntryAndOffset(String size, String fault)
      throws IOException {
    Layer good = layout.gzipLayer(tar("a", "1"));
    byte[] tar = new TarMaker().file("b", "1").pax("size", size).file("f", "x").finish();
    layout.add(layout.image(AMD64, good, layout.gzipLayer(tar)));

    assertFault(
        "Layer 2 of 2 (" + digest(gzip(tar)) + ")",
        fault.startsWith("no number") ? "behind entry 'b'" : "entry 'f'",
        ", at byte 1024 of the archive: ",
        fault);
  }

  @Test
  void aWindowThatWouldTakeTooMuchMemoryIsRefused() throws IOException {
    byte[] tar = tar("a", "x".repeat(1000));
    Files.write(temp.resolve("layer.tar"), tar);
    Tool.script(temp, "zstd --ultra -22 --long=28 <layer.tar >packed");
    byte[] packed = Files.readAllBytes(temp.resolve("packed"));
    layout.add(layout.image(AMD64, layout.layer(TAR + "+zstd", packed, tar)));

    assertFault(
        "TOO_LARGE: ",
        "Layer 1 of 1",
        "its zstd stream needs a window of more than the limit of 128 MiB");
  }

  @ParameterizedTest
  @ValueSource(strings = {"../escape", "a/../../escape", "/../escape"})
  void aNameThatLeadsOutIsRefusedWithLayerAndEntry(String name) throws IOException {
    Layer good = layout.gzipLayer(tar("a", "1"));
    Layer bad = layout.gzipLayer(tar(name, "x"));
    layout.add(layout.image(AMD64, good, bad));

    assertFault(
        "Layer 2 of 2 (" + digest(gzip(tar(name, "x"))) + "), entry '" + name + "'", "'..'");
  }

  @Test
  void aMissingLayerIsNamed() throws IOException {
    String digest = digest(new byte[5]);
    Layer missing = new Layer(descriptor(GZIP, digest, 5), digest(new byte[1024]));
    layout.add(layout.image(AMD64, missing));

    assertFault("DAMAGED: ", "The blob " + digest + " is missing in " + layout.directory());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "application/x-tar",
        "application/vnd.oci.image.layer.v1.tar+xz",
        "application/vnd.in-toto+json"
      })
  void unknownTypesOfLayersAreNamed(String type) throws IOException {
    byte[] tar = tar("a", "1");
    layout.add(layout.image(AMD64, layout.layer(type, tar, tar)));

    assertFault("UNSUPPORTED: ", "/layers/0/mediaType", type);
  }

  @Test
  void nonDistributableLayersThatAreThereAreUsed() throws IOException {
    byte[] tar = tar("a", "1");
    String type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    layout.add(layout.image(AMD64, layout.layer(type, gzip(tar), tar)));

    assertEquals(Set.of("", "a"), paths(store.resolve(ref)));
  }

  @Test
  void aBombIsStoppedByTheLimit() throws IOException {
    byte[] tar = tar("zeros", "\0".repeat(20 << 20));
    layout.add(layout.image(AMD64, layout.gzipLayer(tar)));
    store =
        new ImageStore(
            temp.resolve("store"), ImageLimits.DEFAULT.withUnpackedSize(DataSize.mebibytes(10)));

    assertFault("TOO_LARGE: ", "unpacks to more than the limit of 10MiB", "Raise unpackedSize");
  }

  @Test
  void manifestsThatAreNoneSayWhatIsWrongAndWhere() throws IOException {
    assertManifestFault("{", "is no JSON", "at byte");
    assertManifestFault("{}{}", "is no JSON");
    assertManifestFault("[]", "is no JSON object");
    assertManifestFault("{\"schemaVersion\":1}", "schema 1", "skopeo copy");
    assertManifestFault("{\"schemaVersion\":\"2\"}", "/schemaVersion: it is no integer");
    assertManifestFault("{\"schemaVersion\":2}", "/config: it is missing");
    assertManifestFault("{\"schemaVersion\":2,\"schemaVersion\":2}", "is no JSON");
    assertManifestFault("{\"a\":".repeat(5000), "is no JSON");
    String config = layout.blob(CONFIG, LayoutMaker.config(AMD64, "{}", List.of()));
    String start = "{\"schemaVersion\":2,\"config\":" + config;
    assertManifestFault(start + ",\"layers\":{}}", "/layers: it is no array");
    assertManifestFault(start + ",\"layers\":[1]}", "/layers/0: it is no object");
    assertManifestFault(start + ",\"layers\":[{}]}", "/layers/0/digest: it is missing");
    assertManifestFault(start + ",\"manifests\":[]}", "/manifests: a manifest has layers");
    assertManifestFault(
        start + ",\"layers\":[" + descriptor(TAR, "sha256:../../etc", 1) + "]}",
        "/layers/0/digest",
        "64 lower-case hexadecimal digits");
    assertManifestFault(
        start + ",\"layers\":[" + descriptor(TAR, "md5:00", 1) + "]}", "sha256: or sha512:");
    assertManifestFault(
        start + ",\"layers\":[" + descriptor(TAR, digest(new byte[0]), -1) + "]}",
        "/layers/0/size: it is negative");
    assertManifestFault(
        start
            + ",\"layers\":["
            + descriptor(TAR, digest(new byte[0]), 1).replace(":1}", ":1e30}")
            + "]}",
        "/layers/0/size: it is no integer");
    String layer = descriptor(TAR, digest(new byte[0]), 0);
    assertManifestFault(
        start + ",\"layers\":[" + layer + "]}", "/rootfs/diff_ids: 0 digests, for a manifest of 1");
    String many = String.join(",", java.util.Collections.nCopies(1001, layer));
    assertManifestFault(start + ",\"layers\":[" + many + "]}", "more than the limit of 1000");
  }

  private void assertManifestFault(String manifest, String... parts) throws IOException {
    layout = new LayoutMaker(layout.directory());
    layout.add(layout.blob(MANIFEST, manifest));
    assertFault(parts);
  }

  @Test
  void configurationsThatAreNoneSayWhatIsWrongAndWhere() throws IOException {
    assertConfigFault("{}", "/rootfs: it is missing");
    String rootfs = ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
    assertConfigFault("{\"os\":7" + rootfs, "/os: it is no string");
    String start = "{\"os\":\"linux\",\"architecture\":\"amd64\"";
    assertConfigFault(start + ",\"config\":[]" + rootfs, "/config: it is no object");
    assertConfigFault(
        start + ",\"config\":{\"Env\":[1]}" + rootfs, "/config/Env/0: it is no string");
    assertConfigFault(
        start + ",\"config\":{\"Volumes\":[]}" + rootfs, "/config/Volumes: it is no object");
    assertConfigFault(start + ",\"rootfs\":{\"type\":\"x\"}}", "/rootfs/type");
    assertConfigFault(
        start + ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"x\"]}}", "/rootfs/diff_ids/0");
  }

  private void assertConfigFault(String config, String... parts) throws IOException {
    String manifest = LayoutMaker.manifest(layout.blob(CONFIG, config), List.of());
    assertManifestFault(manifest, parts);
  }

  @Test
  void absurdSizesOfDocumentsAreNotRead() throws IOException {
    layout.add(descriptor(MANIFEST, digest(new byte[0]), Long.MAX_VALUE));
    assertFault("TOO_LARGE: ", "9223372036854775807 bytes, more than the limit of 4MiB");
    Files.writeString(layout.directory().resolve("index.json"), " ".repeat((4 << 20) + 1));
    assertFault("TOO_LARGE: ", "index.json has more than the limit of 4MiB");
  }

  @Test
  void indexesWithoutEndAreRefused() throws IOException {
    String image = layout.image("linux/arm64");
    String index = image;
    for (int i = 0; i < 10; i++) {
      index = layout.index(index);
    }
    layout.add(index);
    assertFault("TOO_LARGE: ", "indexes in indexes");

    layout = new LayoutMaker(layout.directory());
    String wide = image;
    for (int i = 0; i < 4; i++) {
      wide = layout.index(wide, wide, wide, wide, wide, wide);
    }
    layout.add(wide);
    assertFault("more than 1000 manifests");
  }

  @Test
  void aStoreThatCannotBeWrittenIsNamed() throws IOException {
    layout.add(layout.image(AMD64, layout.gzipLayer(tar("a", "1"))));
    Files.createFile(temp.resolve("store"));

    ImageException fault = assertThrows(ImageException.class, () -> store.resolve(ref));
    assertTrue(String.valueOf(fault.getMessage()).contains(temp.resolve("store").toString()));
    assertEquals(ImageException.Reason.HOST_DISK, fault.reason());
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason =
          "Linux mounts a small file system for it, and has its own words for a full one")
  @Test
  void aFullDiskIsSaidToBeFullAndLeavesNothing() throws IOException {
    byte[] content = new byte[3 << 20];
    new java.util.Random(1).nextBytes(content);
    byte[] tar = new TarMaker().add(TarMaker.header('0', "a"), content).finish();
    layout.add(layout.image(AMD64, layout.gzipLayer(tar)));
    Path small = Files.createDirectory(temp.resolve("store"));
    Tool.run(temp, "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small.toString());
    try {
      assertFault("HOST_DISK: ", "No space left on device");
    } finally {
      Tool.run(temp, "umount", small.toString());
    }
  }

  @Test
  void anInterruptEndsTheWork() throws IOException {
    layout.add(layout.image(AMD64, layout.gzipLayer(tar("a", "1"))));
    Thread.currentThread().interrupt();
    assertThrows(InterruptedOperationException.class, () -> store.resolve(ref));
    assertTrue(Thread.interrupted());

    assertNothingIsLeft();
    assertFalse(paths(store.resolve(ref)).isEmpty());
  }

  @Test
  void unusualNamesInErrorsAreEscaped() throws IOException {
    layout.add(layout.image(AMD64, layout.gzipLayer(tar("../\u001b[31m\n", "x"))));

    assertFault("entry '../\\x1b[31m\\x0a'");
  }

  @Test
  void contentIsReadBackAsItWas() throws IOException {
    layout.add(layout.image(AMD64, layout.gzipLayer(tar("dir/a", "hello"))));
    try (MountedImage mounted = MountedImage.mount(store.resolve(ref).filesystem(), "ro")) {
      assertEquals("hello", new String(Files.readAllBytes(mounted.root().resolve("dir/a")), UTF_8));
    }
  }
}
