// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.Digest.Algorithm;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.internal.Zstd;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Nacelle's own kernels: those that come with the library, and those that this user built. */
class OwnKernelsTest {
  private static final KernelRef OWN = KernelRef.nacelle("6.12");

  @TempDir Path directory;
  private Path resources;
  private URLClassLoader loader;
  private KernelStore store;

  @BeforeEach
  void open() throws IOException {
    resources = Files.createDirectories(directory.resolve("artifact/META-INF/nacelle/x86_64"));
    URL root = directory.resolve("artifact").toUri().toURL();
    loader = new URLClassLoader(new URL[] {root}, ClassLoader.getPlatformClassLoader());
    store =
        new KernelStore(
            directory.resolve("store"),
            new ImageStore(directory.resolve("images")),
            progress -> {},
            AptKernels.ofThisMachine(),
            new BundledKernels(loader),
            new BuiltKernels(directory.resolve("built")));
  }

  @AfterEach
  void close() throws IOException {
    loader.close();
  }

  /** As {@code guest-agent/kernel/artifact} writes one. */
  private byte[] bundle(String series, String release) throws IOException {
    byte[] vmlinux = TestElf.kernel(release).build();
    describe(series, Sha256.hex(vmlinux), vmlinux.length);
    Files.write(resources.resolve("vmlinux-" + series + ".zst"), Zstd.pack(vmlinux));
    return vmlinux;
  }

  private void describe(String series, String sha256, long size) throws IOException {
    Files.write(
        resources.resolve("kernel-" + series + ".properties"),
        List.of("sha256=" + sha256, "size=" + size, "source=linux-source-" + series + " 1-2~3"));
  }

  /** As {@code guest-agent/kernel/build} leaves one. */
  private Path build(String series, String release) throws IOException {
    Path built = Files.createDirectories(directory.resolve("built"));
    Path made = Files.createDirectory(built.resolve("linux-" + release));
    Path link = built.resolve(series);
    Files.deleteIfExists(link);
    Files.createSymbolicLink(link, made.getFileName());
    return Files.write(made.resolve("vmlinux"), TestElf.kernel(release).build());
  }

  private KernelException refusal(KernelRef ref) {
    return assertThrows(KernelException.class, () -> store.resolve(ref));
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "kernels are built on Linux, which leaves symbolic links")
  @Test
  void theDefaultIsTheKernelThatComesWithTheLibraryWhateverWasBuilt() throws IOException {
    byte[] vmlinux = bundle("6.12", "6.12.1-nacelle");
    build("6.12", "6.12.2-nacelle");
    build("6.18", "6.18.1-nacelle");
    ResolvedKernel kernel = store.resolve(KernelRef.defaultKernel());
    assertEquals("6.12.1-nacelle", kernel.version());
    assertEquals(OWN, kernel.ref());
    assertEquals(Sha256.hex(vmlinux), kernel.digest().hex());
    assertEquals(
        "artifact nacelle-kernel-6.12, built from linux-source-6.12 1-2~3", kernel.source());
    assertArrayEquals(vmlinux, Files.readAllBytes(kernel.vmlinux()));
    assertEquals(kernel.digest(), store.resolve(OWN).digest());
    assertEquals(kernel.digest(), store.resolve(kernel.pinnedRef()).digest());
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "kernels are built on Linux, which leaves symbolic links")
  @Test
  void aSeriesThatDoesNotComeWithTheLibraryIsTheOneThatWasBuiltLast() throws IOException {
    bundle("6.12", "6.12.1-nacelle");
    KernelRef ref = KernelRef.nacelle("6.1");
    build("6.1", "6.1.1-nacelle");
    KernelRef first = store.resolve(ref).pinnedRef();
    Path vmlinux = build("6.1", "6.1.2-nacelle");
    ResolvedKernel second = store.resolve(ref);
    assertEquals("6.1.2-nacelle", second.version());
    assertEquals("nacelle:6.1@sha256:" + Sha256.hex(vmlinux), second.pinnedRef().toString());
    assertTrue(refusal(first).getMessage().contains("is not what it is pinned to"));
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "kernels are built on Linux, which leaves symbolic links")
  @Test
  void withoutTheArtifactTheDefaultIsTheKernelOfThatSeriesThatWasBuilt() throws IOException {
    build("6.12", "6.12.1-nacelle");
    build("6.18", "6.18.1-nacelle");
    ResolvedKernel kernel = store.resolve(KernelRef.defaultKernel());
    assertEquals("6.12.1-nacelle", kernel.version());
    assertEquals(OWN, kernel.ref());
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "kernels are built on Linux, which leaves symbolic links")
  @Test
  void aPinFindsTheKernelThatWasBuiltBesideTheOneThatCame() throws IOException {
    bundle("6.12", "6.12.1-nacelle");
    Path vmlinux = build("6.12", "6.12.2-nacelle");
    KernelRef pinned = OWN.withDigest(new Digest(Algorithm.SHA256, Sha256.hex(vmlinux)));
    assertEquals("6.12.2-nacelle", store.resolve(pinned).version());
  }

  @Test
  void aPinThatIsNotOfTheKernelThatCameNamesThatOnesDigest() throws IOException {
    byte[] vmlinux = bundle("6.12", "6.12.1-nacelle");
    KernelException e = refusal(OWN.withDigest(new Digest(Algorithm.SHA256, "0".repeat(64))));
    assertTrue(e.getMessage().contains("is not what it is pinned to"), e.getMessage());
    assertTrue(e.getMessage().contains(Sha256.hex(vmlinux)), e.getMessage());
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "kernels are built on Linux, which leaves symbolic links")
  @Test
  void withNeitherItSaysWhichDependencyToAdd() throws IOException {
    Files.createDirectories(directory.resolve("built"));
    Files.createSymbolicLink(directory.resolve("built/6.12"), Path.of("half-removed"));
    for (KernelRef ref : List.of(KernelRef.defaultKernel(), OWN)) {
      KernelException e = refusal(ref);
      assertTrue(e.getMessage().contains("There is no kernel " + ref), e.getMessage());
      assertTrue(e.remedy().orElse("").contains("dev.nacelle:nacelle-kernel-6.12"), e::getMessage);
    }
    KernelException e = refusal(KernelRef.nacelle("6.1"));
    assertTrue(e.remedy().orElse("").contains("guest-agent/kernel/build 6.1"), e::getMessage);
  }

  @Test
  void aDamagedArtifactIsRefusedAndLeavesNothingThatIsLaterBelieved() throws IOException {
    byte[] vmlinux = bundle("6.12", "6.12.1-nacelle");
    String sha256 = Sha256.hex(vmlinux);
    Path packed = resources.resolve("vmlinux-6.12.zst");

    Files.write(packed, Zstd.pack(TestElf.kernel("6.12.3-nacelle").build()));
    assertDamaged("has not the digest " + sha256);

    Files.write(packed, Zstd.pack(new byte[vmlinux.length + 1]));
    assertDamaged("unpacks to more than");

    byte[] whole = Zstd.pack(vmlinux);
    Files.write(packed, Arrays.copyOf(whole, whole.length / 2));
    assertDamaged("nacelle-kernel-6.12");

    Files.delete(packed);
    assertDamaged("has no META-INF/nacelle");

    describe("6.12", "none", vmlinux.length);
    assertDamaged("no digest");

    describe("6.12", sha256, 1L << 32);
    assertDamaged("it claims");

    bundle("6.12", "6.12.1-nacelle");
    assertEquals("6.12.1-nacelle", store.resolve(OWN).version());
  }

  private void assertDamaged(String why) {
    KernelException e = refusal(OWN);
    assertEquals(KernelException.Reason.DAMAGED, e.reason());
    assertTrue(e.getMessage().contains(why), e.getMessage());
  }
}
