// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Archives that skopeo, GNU tar and older versions of Docker made. */
class ArchiveTest {
  @TempDir Path temp;
  private LayoutMaker layout;
  private ImageStore store;

  @BeforeEach
  void makeLayout() throws IOException {
    layout = new LayoutMaker(temp.resolve("layout"));
    layout.tag(image("one"), "one");
    layout.tag(image("two"), "two");
    store = new ImageStore(temp.resolve("store"));
  }

  private String image(String name) throws IOException {
    Layer first = layout.gzipLayer(new TarMaker().file("base", "base").finish());
    Layer second = layout.gzipLayer(new TarMaker().file(name, name.repeat(100_000)).finish());
    return layout.image("linux/amd64", first, second);
  }

  private ResolvedImage resolve(String ref) {
    return store.resolve(ImageRef.parse(ref));
  }

  private String skopeo(String tag, String target) {
    Tool.run(
        temp,
        "skopeo",
        "copy",
        "--quiet",
        "--insecure-policy",
        "oci:" + layout.directory() + ":" + tag,
        target);
    return target;
  }

  private void assertSame(String tag, String ref) throws IOException {
    ResolvedImage local =
        new ImageStore(temp.resolve("local"))
            .resolve(ImageRef.parse("oci:" + layout.directory() + ":" + tag));
    ResolvedImage image = resolve(ref);
    assertEquals(-1, Files.mismatch(local.filesystem(), image.filesystem()));
    assertEquals(local.config(), image.config());
    assertEquals(image.digest(), store.resolve(image.pinnedRef()).digest());
  }

  private String fault(String ref) {
    ImageException fault = assertThrows(ImageException.class, () -> resolve(ref));
    return fault.reason() + ": " + fault.getMessage();
  }

  private static void assertContains(String text, String... parts) {
    for (String part : parts) {
      assertTrue(text.contains(part), "'" + part + "' in: " + text);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", ":v1"})
  void anOciArchiveIsTheLayoutInIt(String tag) throws IOException {
    assertSame("one", skopeo("one", "oci-archive:" + temp.resolve("a.tar") + tag));
  }

  @Test
  void aLayoutPackedWithGnuTarIsAnArchiveToo() throws IOException {
    Tool.run(layout.directory(), "tar", "-cf", temp.resolve("a.tar").toString(), ".");

    assertSame("one", "oci-archive:" + temp.resolve("a.tar") + ":one");
    assertSame("two", "oci-archive:" + temp.resolve("a.tar") + ":two");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", ":registry.example/app:v1", ":app"})
  void aDockerArchiveHasAnImage(String name) throws IOException {
    assertSame("one", skopeo("one", "docker-archive:" + temp.resolve("a.tar") + name));
  }

  @Test
  void anImageOfADockerArchiveIsChosenByName() throws IOException {
    String file = "docker-archive:" + temp.resolve("a.tar");
    skopeo("one", file + ":one:v1");
    // skopeo writes one image to an archive; a second one as "docker save a b" has it.
    String two = "docker-archive:" + temp.resolve("b.tar") + ":two:v1";
    skopeo("two", two);
    Tool.script(
        temp,
        """
        mkdir both && tar -xf a.tar -C both && mv both/manifest.json one.json
        tar -xf b.tar -C both && mv both/manifest.json two.json
        { tr -d '\\n' < one.json | sed 's/]$/,/'; tr -d '\\n' < two.json | sed 's/^\\[//'; } \\
          > both/manifest.json
        tar -cf both.tar -C both .
        rm -r both""");

    assertSame("one", "docker-archive:" + temp.resolve("both.tar") + ":one:v1");
    assertSame("two", "docker-archive:" + temp.resolve("both.tar") + ":two:v1");
    assertContains(
        fault("docker-archive:" + temp.resolve("both.tar")),
        "holds more than one image: docker.io/library/one:v1, docker.io/library/two:v1");
    assertContains(
        fault("docker-archive:" + temp.resolve("both.tar") + ":three"),
        "there is no image of that tag",
        "docker.io/library/one:v1");
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "zstd", "xz", "bzip2"})
  void layersOfADockerArchiveMayBeCompressed(String tool) throws IOException {
    Layer first = dockerLayer("1", tool);
    Layer second = dockerLayer("2", tool);
    pack("one:v1", first, second);

    String file = "docker-archive:" + temp.resolve("a.tar");
    assertNotEquals(0, Files.size(resolve(file + ":one:v1").filesystem()));
    assertContains(fault(file + ":broken:v1"), "'absent' is missing in the archive");
  }

  private Layer dockerLayer(String name, String tool) throws IOException {
    byte[] tar = new TarMaker().file(name, name.repeat(100_000)).finish();
    Path tree = Files.createDirectories(temp.resolve("tree"));
    Files.write(tree.resolve(name), tar);
    Tool.script(tree, tool + " -c " + name + " > packed && mv packed " + name);
    return new Layer("", LayoutMaker.digest(tar));
  }

  /** An archive as "docker save" writes it, with layers that are called 1, 2, 3. */
  private void pack(String tag, Layer... layers) throws IOException {
    Path tree = temp.resolve("tree");
    Files.writeString(
        tree.resolve("c.json"), LayoutMaker.config("linux/amd64", "{}", List.of(layers)));
    String names =
        IntStream.rangeClosed(1, layers.length)
            .mapToObj(i -> "\"" + i + "\"")
            .collect(Collectors.joining(","));
    String image = "{\"Config\":\"c.json\",\"RepoTags\":[\"%s\"],\"Layers\":[%s]}";
    Files.writeString(
        tree.resolve("manifest.json"),
        "["
            + image.formatted(tag, names)
            + ","
            + image.formatted("broken:v1", names.replace("1", "absent"))
            + "]");
    Tool.run(tree, "tar", "-cf", "../a.tar", ".");
  }

  @Test
  void equalLayersMayBeLinks() throws IOException {
    byte[] tar = new TarMaker().file("a", "a").finish();
    Layer layer = new Layer("", LayoutMaker.digest(tar));
    Path tree = Files.createDirectories(temp.resolve("tree"));
    Files.createDirectories(tree.resolve("1"));
    Files.createDirectories(tree.resolve("2"));
    Files.write(tree.resolve("1/layer.tar"), tar);
    Tool.run(tree, "ln", "-s", "../1/layer.tar", "2/layer.tar");
    Files.writeString(
        tree.resolve("c.json"), LayoutMaker.config("linux/amd64", "{}", List.of(layer, layer)));
    Files.writeString(
        tree.resolve("manifest.json"),
        "[{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[\"1/layer.tar\",\"2/layer.tar\"]}]");
    Tool.run(tree, "tar", "-cf", "../a.tar", ".");

    Tool.run(tree, "rm", "2/layer.tar");

    assertNotEquals(0, Files.size(resolve("docker-archive:" + temp.resolve("a.tar")).filesystem()));
  }

  @Test
  void aDamagedLayerOfADockerArchiveIsFound() throws IOException {
    skopeo("one", "docker-archive:" + temp.resolve("a.tar"));
    byte[] bytes = Files.readAllBytes(temp.resolve("a.tar"));
    String text = new String(bytes, StandardCharsets.ISO_8859_1);
    bytes[text.indexOf("oneoneone") + 1_000] ^= 1;
    Files.write(temp.resolve("a.tar"), bytes);

    assertContains(fault("docker-archive:" + temp.resolve("a.tar")), "is damaged");
  }

  @Test
  void whatIsNoArchiveIsSaid() throws IOException {
    Path file = temp.resolve("a.tar");
    assertContains(
        fault("oci-archive:" + file),
        "NOT_FOUND: ",
        "No such file",
        "skopeo copy ... oci-archive:");
    assertContains(fault("oci-archive:" + temp), "No file: " + temp);
    Files.writeString(file, "no archive".repeat(100));
    assertContains(
        fault("docker-archive:" + file), "DAMAGED: ", "is no tar archive", "docker save");
    Files.write(file, new byte[0]);
    assertContains(fault("docker-archive:" + file), "UNSUPPORTED: ", "manifest.json is missing");
    assertContains(fault("oci-archive:" + file), "oci-layout is missing");
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "xz", "bzip2", "zstd"})
  void howAnArchiveIsCompressedIsSaid(String tool) {
    skopeo("one", "docker-archive:" + temp.resolve("a.tar"));
    Tool.script(temp, tool + " -c <a.tar >packed");

    for (String transport : List.of("oci-archive:", "docker-archive:")) {
      assertContains(
          fault(transport + temp.resolve("packed")),
          "UNSUPPORTED: ",
          "is compressed with " + tool,
          "Unpack it first, as with '" + tool + " -d'");
    }
  }

  @Test
  void aTruncatedArchiveIsSaid() throws IOException {
    skopeo("one", "oci-archive:" + temp.resolve("a.tar"));
    byte[] bytes = Files.readAllBytes(temp.resolve("a.tar"));
    for (int length : new int[] {100, 600, 1_100, bytes.length / 2}) {
      Files.write(temp.resolve("a.tar"), Arrays.copyOf(bytes, length));

      fault("oci-archive:" + temp.resolve("a.tar"));
    }
  }

  /** In a locale whose file names have fewer characters. */
  @Test
  void namesInAnArchiveMayHaveAnyCharacters() {
    Tool.script(
        layout.directory(),
        "touch $'\\303\\274mlaut' $'\\377\\376'; mkdir up; tar -cf ../a.tar up/../.");

    Tool.run(
        temp,
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-cp",
        System.getProperty("java.class.path"),
        ResolvingProcess.class.getName(),
        temp.resolve("store").toString(),
        "oci-archive:" + temp.resolve("a.tar") + ":one");
  }

  /** Tool runs it with LC_ALL=C. */
  static final class ResolvingProcess {
    private ResolvingProcess() {}

    public static void main(String[] args) {
      new ImageStore(Path.of(args[0])).resolve(ImageRef.parse(args[1]));
    }
  }

  @Test
  void pathsInAnArchiveLeadNowhereElse() throws IOException {
    Files.writeString(temp.resolve("secret"), "[]");
    String target = temp.resolve("secret").toString();
    Path tree = Files.createDirectories(temp.resolve("tree"));
    Tool.run(tree, "ln", "-s", target, "manifest.json");
    Tool.run(tree, "tar", "-cf", "../a.tar", ".");
    Tool.run(tree, "rm", "manifest.json");

    assertContains(fault("docker-archive:" + temp.resolve("a.tar")), "manifest.json is missing");
  }
}
