// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ImageException;
import dev.nacelle.KernelException;
import dev.nacelle.Stage;
import dev.nacelle.image.Digest;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.FreePort;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Kernels in OCI images that are laid out as LinuxKit's are. */
class KernelInImageTest {
  private static final String AMD64 = "linux/amd64";
  private static final String RELEASE = "6.6.13-linuxkit";
  private static final String MODULES = "./lib/modules/" + RELEASE;

  @TempDir Path directory;
  private LayoutMaker layout;
  private KernelStore store;

  @BeforeEach
  void open() throws IOException {
    layout = new LayoutMaker(directory.resolve("layout"));
    Files.createDirectory(directory.resolve("store"));
    store = new KernelStore(directory.resolve("store"));
  }

  private KernelRef ref() {
    return KernelRef.parse("image:oci:" + layout.directory());
  }

  private static TarMaker file(TarMaker tar, String name, byte[] content) {
    return tar.add(TarMaker.header('0', name), content);
  }

  private static byte[] kernel(String release) {
    return TestElf.kernel(release).build();
  }

  private static byte[] module() {
    return TestElf.module("depends=", "vermagic=" + RELEASE + " SMP ");
  }

  /** As LinuxKit's: the modules' directory, packed from its root. */
  private static byte[] modulesTar() {
    TarMaker tar =
        new TarMaker()
            .directory("./")
            .directory(MODULES + "/")
            .symbolicLink(MODULES + "/build", "/usr/src/linux-headers-" + RELEASE)
            .file(MODULES + "/modules.builtin", "kernel/fs/ext4/ext4.ko\n")
            .file("./boot/something", "else");
    return file(tar, MODULES + "/kernel/fs/overlayfs/overlay.ko", module()).finish();
  }

  private Layer layer(String name, byte[] content) throws IOException {
    return layout.gzipLayer(file(new TarMaker(), name, content).finish());
  }

  private Layer layer(TarMaker tar) throws IOException {
    return layout.gzipLayer(tar.finish());
  }

  private void image(Layer... layers) throws IOException {
    layout.add(layout.image(AMD64, layers));
  }

  private String refusal(KernelRef ref) {
    KernelException e = assertThrows(KernelException.class, () -> store.resolve(ref));
    assertEquals(Stage.KERNEL, e.stage());
    assertNothingIsLeft();
    return e.reason() + ": " + e.getMessage();
  }

  private String refusal(Layer... layers) throws IOException {
    image(layers);
    return refusal(ref());
  }

  private void assertNothingIsLeft() {
    try (Stream<Path> files = Files.walk(directory.resolve("store"))) {
      assertEquals(
          List.of(),
          files
              .filter(f -> f.toString().endsWith(".partial") || f.toString().endsWith(".source"))
              .toList());
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void kernelModulesAndConfigurationAreTaken() throws IOException {
    byte[] headers =
        new TarMaker()
            .file("usr/src/linux-headers-" + RELEASE + "/.config", "CONFIG_OVERLAY_FS=m\n")
            .file("usr/src/linux-headers-" + RELEASE + "/Makefile", "all:\n")
            .finish();
    TarMaker tar = file(new TarMaker(), "kernel", kernel(RELEASE));
    file(file(tar, "./kernel.tar", modulesTar()), "kernel-dev.tar", headers);
    image(layer(tar.file("System.map", "0 A start\n")));

    ResolvedKernel kernel = store.resolve(ref());
    assertEquals(RELEASE, kernel.version());
    assertEquals("x86_64", kernel.architecture());
    assertArrayEquals(kernel(RELEASE), Files.readAllBytes(kernel.vmlinux()));
    assertEquals(Set.of("overlay"), kernel.modules());
    assertEquals(Set.of("ext4"), kernel.builtInModules());
    assertEquals(Optional.of("m"), kernel.config().orElseThrow().value("OVERLAY_FS"));
    assertEquals("image oci:" + layout.directory() + "@" + kernel.digest(), kernel.source());
    assertNothingIsLeft();
  }

  @Test
  void theDigestIsThatOfTheManifestAndAPinRefusesAnother() throws IOException {
    image(layer("kernel", kernel("6.6.1")));
    ResolvedKernel first = store.resolve(ref());
    String manifest = Files.readString(layout.directory().resolve("index.json"));
    assertTrue(manifest.contains(first.digest().toString()), manifest);
    assertEquals("6.6.1", store.resolve(first.pinnedRef()).version());

    layout = new LayoutMaker(layout.directory());
    image(layer("kernel", kernel("6.6.2")));
    assertEquals("6.6.2", store.resolve(ref()).version());
    // Unpacked once, and not asked for again.
    assertEquals("6.6.1", store.resolve(first.pinnedRef()).version());
    store = new KernelStore(directory.resolve("store/another"));
    String message = refusal(first.pinnedRef());
    assertTrue(message.startsWith("NOT_FOUND: "), message);
    assertTrue(message.contains("there is no image of that digest"), message);
  }

  @Test
  void whatIsWrongWithItsReferenceIsToldAsTheImages() throws IOException {
    image(layer("kernel", kernel("6.6.1")));
    image(layer("kernel", kernel("6.6.2")));
    KernelException e = assertThrows(KernelException.class, () -> store.resolve(ref()));
    assertEquals(KernelException.Reason.IMAGE, e.reason());
    assertFalse(e.isTransient());
    ImageException cause = assertInstanceOf(ImageException.class, e.getCause());
    assertEquals(ImageException.Reason.AMBIGUOUS, cause.reason());
    assertTrue(e.getMessage().contains("holds more than one image: sha256:"), e::getMessage);
    assertEquals("Add a tag or a digest to the reference.", e.remedy().orElseThrow());
  }

  @Test
  void aPinToAnIndexFindsTheManifestForThisArchitecture() throws IOException {
    String foreign = layout.image("linux/arm64", layer("kernel", new byte[100]));
    String own = layout.image(AMD64, layer("kernel", kernel(RELEASE)));
    String index =
        layout.index(
            LayoutMaker.with(foreign, "\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}"),
            LayoutMaker.with(own, "\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}"));
    layout.add(index);
    String digest = index.replaceAll(".*(sha256:[0-9a-f]{64}).*", "$1");
    ResolvedKernel kernel = store.resolve(ref().withDigest(Digest.parse(digest)));
    assertEquals(RELEASE, kernel.version());
    assertTrue(own.contains(kernel.digest().toString()), own);
    assertEquals(kernel.vmlinux(), store.resolve(kernel.pinnedRef()).vmlinux());
  }

  @Test
  void aKernelWithoutModulesIsTaken() throws IOException {
    image(layer("kernel", kernel(RELEASE)));
    assertEquals(Set.of(), store.resolve(ref()).modules());
  }

  @Test
  void upperLayersReplaceAndRemoveWhatLowerOnesHave() throws IOException {
    image(
        layer(file(file(new TarMaker(), "kernel", kernel("6.1")), "kernel.tar", new byte[9])),
        layer(file(new TarMaker().file(".wh.kernel", ""), "kernel", kernel("6.2"))),
        layer(new TarMaker().file(".wh.kernel.tar", "").file("etc/kernel", "another")));
    ResolvedKernel kernel = store.resolve(ref());
    assertEquals("6.2", kernel.version());
    assertEquals(Set.of(), kernel.modules());
  }

  @Test
  void anOpaqueRootHidesLowerLayersOnly() throws IOException {
    TarMaker upper = file(new TarMaker(), "kernel", kernel(RELEASE)).file(".wh..wh..opq", "");
    image(
        layer(file(file(new TarMaker(), "kernel", kernel("6.1")), "kernel.tar", new byte[9])),
        layer(upper));
    assertEquals(RELEASE, store.resolve(ref()).version());
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip -1", "xz -0", "zstd -1"})
  void compressedModulesInACompressedArchiveAreRead(String command) throws IOException {
    byte[] packed = TestTools.pipe(module(), command.split(" "));
    String ending = command.startsWith("gzip") ? "gz" : command.startsWith("xz") ? "xz" : "zst";
    byte[] tar =
        file(new TarMaker(), "lib/modules/" + RELEASE + "/kernel/tun.ko." + ending, packed)
            .finish();
    image(
        layer("kernel", kernel(RELEASE)),
        layer("kernel.tar", TestTools.pipe(tar, command.split(" "))));
    ResolvedKernel kernel = store.resolve(ref());
    assertEquals(Set.of("tun"), kernel.modules());
    try (KernelArchive archive = new KernelArchive("it", kernel.archive())) {
      assertArrayEquals(module(), archive.module(archive.modules(RELEASE).get("tun")));
    }
  }

  @Test
  void anImageWithoutAKernelIsRefused() throws IOException {
    String message = refusal(layer("boot/vmlinuz", kernel(RELEASE)));
    assertTrue(message.contains("no kernel in it: no /kernel. Use an image that"), message);
  }

  @Test
  void aKernelThatIsNoRegularFileIsRefused() throws IOException {
    String message =
        refusal(layer(new TarMaker().symbolicLink("kernel", "boot/vmlinuz").file("a", "")));
    assertTrue(message.contains("/kernel of oci:"), message);
    assertTrue(message.contains("of the type SYMBOLIC_LINK"), message);
  }

  @Test
  void whatIsNoKernelIsRefused() throws IOException {
    String message = refusal(layer("kernel", "#!/bin/sh".getBytes(StandardCharsets.US_ASCII)));
    assertTrue(message.contains("neither an ELF vmlinux nor a bzImage"), message);
  }

  @Test
  void modulesOfAnotherKernelAreRefused() throws IOException {
    String message = refusal(layer("kernel", kernel("6.1.0")), layer("kernel.tar", modulesTar()));
    assertTrue(message.contains("has the kernel 6.1.0 and modules of [" + RELEASE), message);
  }

  @Test
  void anImageForAnotherArchitectureIsRefused() throws IOException {
    layout.add(layout.image("linux/arm64", layer("kernel", kernel(RELEASE))));
    String message = refusal(ref());
    assertTrue(message.startsWith("UNSUPPORTED: "), message);
    assertTrue(message.contains("is not for linux/amd64, but for linux/arm64"), message);
  }

  @Test
  void aModulesArchiveThatIsCutOffOrNoneIsRefused() throws IOException {
    byte[] tar = modulesTar();
    String message =
        refusal(
            layer("kernel", kernel(RELEASE)),
            layer("kernel.tar", Arrays.copyOf(tar, tar.length - 1024 - 512)));
    assertTrue(message.contains("/kernel.tar could not be unpacked"), message);

    layout = new LayoutMaker(layout.directory());
    message = refusal(layer("kernel", kernel(RELEASE)), layer("kernel.tar", new byte[] {1, 2, 3}));
    assertTrue(message.contains("/kernel.tar could not be unpacked"), message);
  }

  @Test
  void aDamagedLayerIsRefused() throws IOException {
    Layer layer = layer("kernel", kernel(RELEASE));
    image(layer);
    String digest = layer.descriptor().replaceAll(".*(sha256:[0-9a-f]{64}).*", "$1");
    byte[] blob = Files.readAllBytes(layout.blobFile(digest));
    blob[blob.length / 2] ^= 1;
    Files.write(layout.blobFile(digest), blob);
    String message = refusal(ref());
    assertTrue(message.contains("is damaged"), message);
  }

  @Test
  void aFileThatClaimsToBeEndlessIsRefused() throws IOException {
    // Sparse: a few bytes that unpack to more than any disk has.
    TarMaker tar = new TarMaker();
    tar.pax(
        "GNU.sparse.major", "1",
        "GNU.sparse.minor", "0",
        "GNU.sparse.name", "kernel",
        "GNU.sparse.realsize", Long.toString((8L << 30) + 1));
    byte[] map = Arrays.copyOf("1\n0\n1\n".getBytes(StandardCharsets.US_ASCII), 513);
    String message = refusal(layer(tar.add(TarMaker.header('0', "GNUSparseFile.0/kernel"), map)));
    assertTrue(message.contains("more than the limit of"), message);
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "Windows has no apt")
  @Test
  void debiansKernelInAnImageFromARegistryIsTheSameAsInItsPackage() throws Exception {
    ResolvedKernel debian = TestKernels.debian61();
    Path made = TestKernelImages.layout(debian);
    // Nobody else is to have the port when it has ended.
    try (RegistryServer registry =
        RegistryServer.open(directory.resolve("registry"), FreePort.find())) {
      registry.push("oci:" + made + ":latest", "linuxkit/kernel:6.1");
      RegistryOptions options =
          RegistryOptions.builder().plainHttp(registry.host()).credentialFiles().build();
      KernelStore pulling =
          new KernelStore(
              directory.resolve("pulled"),
              new ImageStore(directory.resolve("images"), ImageLimits.DEFAULT, options),
              progress -> {});
      KernelRef tag = KernelRef.parse("image:" + registry.host() + "/linuxkit/kernel:6.1");
      KernelException absent =
          assertThrows(
              KernelException.class,
              () -> pulling.resolve(tag, Duration.ofMinutes(1), PullPolicy.NEVER));
      assertTrue(absent.getMessage().contains("is not to be pulled"), absent.getMessage());

      ResolvedKernel kernel = pulling.resolve(tag);
      assertEquals(debian.version(), kernel.version());
      assertEquals(debian.build(), kernel.build());
      assertEquals(-1, Files.mismatch(debian.vmlinux(), kernel.vmlinux()));
      assertEquals(debian.modules(), kernel.modules());
      assertEquals(debian.builtInModules(), kernel.builtInModules());
      assertEquals(
          debian.config().map(KernelConfig::text), kernel.config().map(KernelConfig::text));

      // By digest, too, and both without the registry from now on.
      String digest =
          Tool.run(
                  directory,
                  "skopeo",
                  "inspect",
                  "--tls-verify=false",
                  "--format={{.Digest}}",
                  "docker://" + registry.host() + "/linuxkit/kernel:6.1")
              .strip();
      assertEquals(digest, kernel.digest().toString());
      ResolvedKernel pinned = pulling.resolve(kernel.pinnedRef());
      assertEquals(kernel.vmlinux(), pinned.vmlinux());
      registry.close();
      assertEquals(kernel.vmlinux(), pulling.resolve(tag).vmlinux());
      Tool.run(directory, "rm", "-r", "images");
      ResolvedKernel unpacked = pulling.resolve(kernel.pinnedRef());
      assertEquals(kernel.vmlinux(), unpacked.vmlinux());
      assertEquals("image " + kernel.pinnedRef().imageRef().orElseThrow(), unpacked.source());
      KernelException gone = assertThrows(KernelException.class, () -> pulling.resolve(tag));
      assertTrue(gone.getMessage().contains(registry.host()), gone.getMessage());
      assertEquals(KernelException.Reason.NETWORK, gone.reason());
    }
  }
}
