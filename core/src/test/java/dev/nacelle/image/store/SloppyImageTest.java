// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import static dev.nacelle.image.testing.LayoutMaker.CONFIG;
import static dev.nacelle.image.testing.LayoutMaker.GZIP;
import static dev.nacelle.image.testing.LayoutMaker.MANIFEST;
import static dev.nacelle.image.testing.LayoutMaker.TAR;
import static dev.nacelle.image.testing.LayoutMaker.gzip;
import static dev.nacelle.image.testing.LayoutMaker.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Images as builders write them that say too little, too much or something wrong, and that other
 * engines run.
 */
class SloppyImageTest {
  @TempDir Path temp;
  private LayoutMaker layout;
  private ImageStore store;

  @BeforeEach
  void makeLayout() throws IOException {
    layout = new LayoutMaker(temp.resolve("layout"));
    store = new ImageStore(temp.resolve("store"));
  }

  private Layer layer(String name) throws IOException {
    return layout.gzipLayer(new TarMaker().file(name, name).finish());
  }

  /** An image whose user is its name, with that in place of its platform. */
  private String image(String name, String platform) throws IOException {
    Layer layer = layer(name);
    String config =
        LayoutMaker.config("linux/amd64", "{\"User\":\"" + name + "\"}", List.of(layer))
            .replace("\"os\":\"linux\",\"architecture\":\"amd64\",", platform);
    return layout.blob(MANIFEST, LayoutMaker.manifest(layout.blob(CONFIG, config), List.of(layer)));
  }

  private String amd64(String name) throws IOException {
    return image(name, "\"os\":\"linux\",\"architecture\":\"amd64\",");
  }

  private static String platform(String descriptor, String members) {
    return with(descriptor, "\"platform\":{" + members + "}");
  }

  private ImageConfig resolve() {
    return store.resolve(ImageRef.ociLayout(layout.directory())).config();
  }

  private void assertFault(String... parts) {
    String message = String.valueOf(assertThrows(ImageException.class, this::resolve).getMessage());
    for (String part : parts) {
      assertTrue(message.contains(part), "'" + part + "' in: " + message);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"v8", "v1", "", "v2", "odd"})
  void aVariantInAConfigurationIsNoMatterWhereTheImageWasNamed(String variant) throws IOException {
    String built =
        image(
            "built",
            "\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"%s\",".formatted(variant));
    layout.add(built);
    assertEquals("built", resolve().user().orElse(""));

    layout = new LayoutMaker(temp.resolve("index"));
    built =
        image(
            "built",
            "\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"%s\",".formatted(variant));
    String arm = "\"os\":\"linux\",\"architecture\":\"arm64\"";
    layout.add(
        layout.index(
            platform(image("arm", arm + ","), arm),
            platform(built, "\"os\":\"linux\",\"architecture\":\"amd64\"")));
    assertEquals("built", resolve().user().orElse(""));
  }

  @Test
  void aVariantDecidesWhereNothingElseDoes() throws IOException {
    layout.add(
        layout.index(
            image("new", "\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"v9\","),
            amd64("basic")));

    assertEquals("basic", resolve().user().orElse(""));
  }

  @Test
  void whatNeedsFeaturesThatWeLackIsNotOurs() throws IOException {
    String amd64 = "\"os\":\"linux\",\"architecture\":\"amd64\"";
    String features = ",\"os.features\":[\"nydus.remoteimage.v1\"]";
    layout.add(
        layout.index(platform(amd64("nydus"), amd64 + features), platform(amd64("plain"), amd64)));
    assertEquals("plain", resolve().user().orElse(""));

    layout = new LayoutMaker(temp.resolve("only"));
    layout.add(layout.index(platform(amd64("nydus"), amd64 + features)));
    assertFault("is not for linux/amd64, but for linux(+nydus.remoteimage.v1)/amd64");

    layout = new LayoutMaker(temp.resolve("named"));
    layout.add(image("nydus", amd64 + features + ","));
    assertFault("is not for linux/amd64, but for linux(+nydus.remoteimage.v1)/amd64");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"blake3:00\",\"platform\":{P}}",
        "{\"mediaType\":\"M\",\"size\":-5,\"digest\":\"D\"}",
        "{\"mediaType\":\"M\",\"digest\":\"D\"}",
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"D\",\"annotations\":{\"a\":1}}",
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"D\",\"platform\":{\"os\":1}}",
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"D\",\"platform\":{P,\"os.features\":[7]}}",
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"D\",\"platform\":{}}",
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"D\",\"platform\":{\"architecture\":\"amd64\"}}",
        "{\"mediaType\":\"M\",\"size\":5,\"digest\":\"D\",\"platform\":{\"os\":\"linux\"}}"
      })
  void aSloppyEntryOfAnIndexIsInNobodysWay(String entry) throws IOException {
    String amd64 = "\"os\":\"linux\",\"architecture\":\"amd64\"";
    String sloppy =
        entry
            .replace("\"M\"", "\"" + MANIFEST + "\"")
            .replace("\"D\"", "\"" + LayoutMaker.digest(new byte[5]) + "\"")
            .replace("P", amd64);
    layout.add(layout.index(sloppy, platform(amd64("good"), amd64)));

    assertEquals("good", resolve().user().orElse(""));
  }

  @Test
  void aSloppyEntryIsToldWhereNothingElseMatches() throws IOException {
    String sloppy = LayoutMaker.descriptor(MANIFEST, "blake3:00", 5);
    layout.add(layout.index(sloppy));
    assertFault("/manifests/0/digest: ", "is no digest: a digest starts with sha256: or sha512:");

    String arm = "\"os\":\"linux\",\"architecture\":\"arm64\"";
    layout = new LayoutMaker(temp.resolve("arm"));
    layout.add(layout.index(platform(image("arm", arm + ","), arm), sloppy));
    assertFault("is not for linux/amd64, but for linux/arm64; passed over:", "/manifests/1/digest");

    layout = new LayoutMaker(temp.resolve("root"));
    layout.add(sloppy);
    assertFault("there is no image in it; passed over:", "/manifests/0/digest");
  }

  @Test
  void anEntryThatDoesNotSayItsPlatformIsAsItsConfigurationSays() throws IOException {
    layout.add(layout.index(platform(amd64("good"), "")));

    assertEquals("good", resolve().user().orElse(""));
  }

  private String signature() throws IOException {
    Layer payload =
        layout.layer("application/vnd.dev.cosign.simplesigning.v1+json", new byte[9], new byte[9]);
    String config = layout.blob(CONFIG, LayoutMaker.config("/", "{}", List.of(payload)));
    return layout.blob(MANIFEST, LayoutMaker.manifest(config, List.of(payload)));
  }

  @Test
  void signaturesBesideAnImageArePassedOver() throws IOException {
    layout.add(with(signature(), "\"annotations\":{\"kind\":\"dev.cosignproject.cosign/sigs\"}"));
    layout.add(amd64("signed"));
    assertEquals("signed", resolve().user().orElse(""));

    layout = new LayoutMaker(temp.resolve("index"));
    layout.add(layout.index(signature(), amd64("signed")));
    assertEquals("signed", resolve().user().orElse(""));
  }

  @Test
  void aSignatureAloneIsNoImage() throws IOException {
    layout.add(signature());

    assertFault("no known type of layer: application/vnd.dev.cosign.simplesigning.v1+json");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "''",
        "\"os\":\"linux\",",
        "\"os\":\"linux\",\"architecture\":\"\",",
        "\"os\":\"\",\"architecture\":null,",
        "\"os\":\"Linux\",\"architecture\":\"x86_64\",",
        "\"os\":\"linux\",\"architecture\":\"x86-64\",",
        "\"os\":\"LINUX\",\"architecture\":\"AMD64\","
      })
  void whatAConfigurationDoesNotSayIsAsTheIndexHasIt(String platform) throws IOException {
    layout.add(image("named", platform));
    assertEquals("named", resolve().user().orElse(""));
    assertEquals(Platform.LINUX_AMD64, resolve().platform());

    layout = new LayoutMaker(temp.resolve("index"));
    layout.add(
        layout.index(
            platform(image("arm", platform), "\"os\":\"linux\",\"architecture\":\"aarch64\""),
            platform(image("amd", platform), "\"os\":\"Linux\",\"architecture\":\"x86_64\"")));
    assertEquals("amd", resolve().user().orElse(""));
    assertEquals(Platform.LINUX_AMD64, resolve().platform());
  }

  @Test
  void whatNobodyReadsInAConfigurationMayBeAnything() throws IOException {
    layout.add(
        image(
            "odd",
            "\"os\":\"linux\",\"architecture\":\"amd64\",\"x\":%s,\"y\":%s,\"z\":1e999,"
                .formatted("9".repeat(39), "[".repeat(40) + "]".repeat(40))));

    assertEquals("odd", resolve().user().orElse(""));
  }

  @Test
  void extraDataInAGzipHeaderIsPassedOver() throws IOException {
    byte[] tar = new TarMaker().file("a", "1").finish();
    byte[] plain = gzip(tar);
    byte[] packed = new byte[plain.length + 5];
    System.arraycopy(plain, 0, packed, 0, 10);
    packed[3] = 4;
    packed[10] = 3; // three bytes, too few for a subfield
    Arrays.fill(packed, 12, 15, (byte) '7');
    System.arraycopy(plain, 10, packed, 15, plain.length - 10);
    Layer layer = layout.layer(GZIP, packed, tar);
    layout.add(layout.image("linux/amd64", layer));

    assertEquals("", resolve().user().orElse(""));
  }

  @ParameterizedTest
  @ValueSource(strings = {"xz", "bzip2", "gzip", "zstd"})
  void layersMayBeCompressedAsToolsOfOldDid(String tool) throws IOException {
    byte[] tar = new TarMaker().file("a", "content".repeat(10_000)).finish();
    Files.write(temp.resolve("layer"), tar);
    Tool.script(
        temp, tool + " -c <layer >packed; cat packed >twice; printf '' | " + tool + " -c >>twice");
    Layer layer = layout.layer(TAR, Files.readAllBytes(temp.resolve("twice")), tar);
    layout.add(layout.image("linux/amd64", layer));

    assertEquals("", resolve().user().orElse(""));
  }

  @ParameterizedTest
  @ValueSource(strings = {"xz", "bzip2"})
  void aDamagedLayerOfOldIsRefused(String tool) throws IOException {
    byte[] tar = new TarMaker().file("a", "content".repeat(10_000)).finish();
    Files.write(temp.resolve("layer"), tar);
    Tool.script(temp, tool + " -c <layer >packed");
    byte[] packed = Files.readAllBytes(temp.resolve("packed"));
    layout.add(
        layout.image(
            "linux/amd64", layout.layer(TAR, Arrays.copyOf(packed, packed.length - 9), tar)));

    assertFault("its " + tool + " stream is corrupt");
  }

  @Test
  void anXzLayerThatWouldTakeTooMuchMemoryIsRefused() throws IOException {
    byte[] tar = new TarMaker().file("a", "x").finish();
    Files.write(temp.resolve("layer"), tar);
    Tool.script(temp, "xz --lzma2=dict=256MiB -c <layer >packed");
    layout.add(
        layout.image(
            "linux/amd64", layout.layer(TAR, Files.readAllBytes(temp.resolve("packed")), tar)));

    assertFault("its xz stream needs more memory than the limit of 128 MiB");
  }

  @Test
  void theSameLayerMayComeTwice() throws IOException {
    Layer layer = layer("twice");
    layout.add(layout.image("linux/amd64", layer, layer("other"), layer));

    assertEquals("", resolve().user().orElse(""));
  }

  @Test
  void anImageMayHaveSeveralNames() throws IOException {
    String image = amd64("named");
    layout.tag(image, "one").tag(image, "two");

    assertEquals("named", resolve().user().orElse(""));
  }

  @Test
  void anIndexMayBeAllThatALayoutHas() throws IOException {
    String amd64 = "\"os\":\"linux\",\"architecture\":\"amd64\"";
    layout.add(layout.index(platform(amd64("inner"), amd64)));

    assertEquals("inner", resolve().user().orElse(""));
  }
}
