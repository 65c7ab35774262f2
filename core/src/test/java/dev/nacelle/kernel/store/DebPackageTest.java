// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.ar.ArArchiveEntry;
import org.apache.commons.compress.archivers.ar.ArArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Packages built by dpkg-deb. */
class DebPackageTest {
  private static final byte[] KERNEL = "kernel".getBytes(StandardCharsets.US_ASCII);
  private static final Map<String, byte[]> FILES =
      Map.of(
          "/boot/vmlinuz-6.1.0",
          KERNEL,
          "/boot/config-6.1.0",
          "CONFIG_A=y\n".getBytes(StandardCharsets.US_ASCII),
          "/boot/System.map-6.1.0",
          new byte[83],
          "/lib/modules/6.1.0/kernel/a-b.ko",
          new byte[] {1, 2, 3},
          "/lib/modules/6.1.0/modules.builtin",
          "kernel/fs/ext4/ext4.ko\n".getBytes(StandardCharsets.US_ASCII));

  @TempDir Path directory;

  private Path extract(Path deb) throws IOException {
    Path zip = Files.createTempFile(directory, "archive", ".zip");
    try (InputStream in = Files.newInputStream(deb);
        KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(zip))) {
      DebPackage.extract("the package", in, writer);
    }
    return zip;
  }

  private String refusal(Path deb) {
    KernelException e = assertThrows(KernelException.class, () -> extract(deb));
    return e.reason() + ": " + e.getMessage();
  }

  private Path build(String control, Map<String, byte[]> files) throws IOException {
    return TestTools.debianPackage(directory, "gzip", control, files);
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "xz", "zstd", "none"})
  void kernelConfigurationAndModulesAreKept(String compression) throws IOException {
    Path deb = TestTools.debianPackage(directory, compression, "Architecture: amd64", FILES);
    try (KernelArchive archive = new KernelArchive("the package", extract(deb))) {
      assertArrayEquals(KERNEL, archive.kernel());
      assertEquals(Optional.of("CONFIG_A=y\n"), archive.config("6.1.0"));
      assertEquals(Optional.empty(), archive.config("6.2.0"));
      assertEquals(Set.of("6.1.0"), archive.moduleVersions());
      assertEquals(Set.of("ext4"), archive.builtIn("6.1.0"));
      Map<String, String> modules = archive.modules("6.1.0");
      assertEquals(Set.of("a_b"), modules.keySet());
      assertArrayEquals(new byte[] {1, 2, 3}, archive.module(modules.get("a_b")));
    }
  }

  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "only Linux has /dev/full")
  @Test
  void aFullDiskIsNotTakenForADamagedPackage() throws IOException {
    Path deb =
        build("Architecture: amd64", Map.of("/boot/vmlinuz-6.12", new byte[1 << 20], "/a", KERNEL));
    KernelException e =
        assertThrows(
            KernelException.class,
            () -> {
              try (InputStream in = Files.newInputStream(deb);
                  KernelArchive.Writer writer =
                      new KernelArchive.Writer(Files.newOutputStream(Path.of("/dev/full")))) {
                DebPackage.extract("the package", in, writer);
              }
            });
    assertEquals(KernelException.Reason.HOST_DISK, e.reason());
    assertTrue(e.getMessage().contains("No space left on device"), e.getMessage());
  }

  @Test
  void modulesUnderUsrAreFound() throws IOException {
    Path deb =
        build(
            "Architecture: amd64",
            Map.of("/boot/vmlinuz-6.12", KERNEL, "/usr/lib/modules/6.12/kernel/a.ko", new byte[1]));
    try (KernelArchive archive = new KernelArchive("the package", extract(deb))) {
      assertEquals(Set.of("a"), archive.modules("6.12").keySet());
    }
  }

  @Test
  void theSamePackageGivesTheSameArchive() throws IOException {
    Path deb = build("Architecture: amd64", FILES);
    assertArrayEquals(Files.readAllBytes(extract(deb)), Files.readAllBytes(extract(deb)));
  }

  @Test
  void aPackageWithoutKernelIsRefused() throws IOException {
    Path deb = build("Architecture: amd64", Map.of("/usr/share/doc/x", new byte[1]));
    assertTrue(refusal(deb).startsWith("UNSUPPORTED: "), refusal(deb));
  }

  @Test
  void aMetaPackageSaysWhichPackageHasTheKernel() throws IOException {
    Path deb =
        build(
            "Architecture: amd64\nDepends: kmod, linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)",
            Map.of("/usr/share/doc/x", new byte[1]));
    assertTrue(
        refusal(deb).endsWith("points to the package linux-image-6.1.0-56-cloud-amd64: use that."),
        refusal(deb));
  }

  @Test
  void aPackageForAnotherArchitectureIsRefused() throws IOException {
    assertTrue(
        refusal(build("Architecture: arm64", FILES)).contains("is for arm64, not for amd64"));
  }

  @Test
  void twoKernelsInOnePackageAreRefused() throws IOException {
    Path deb =
        build(
            "Architecture: amd64",
            Map.of("/boot/vmlinuz-6.1.0", KERNEL, "/boot/vmlinuz-6.2.0", KERNEL));
    assertTrue(refusal(deb).contains("two kernels"), refusal(deb));
  }

  @Test
  void aConfigurationOfMoreThanAnyKernelHasIsRefused() throws IOException {
    Path deb =
        build(
            "Architecture: amd64",
            Map.of(
                "/boot/vmlinuz-6.1.0",
                KERNEL,
                "/boot/config-6.1.0",
                new byte[KernelConfig.MAX_SIZE + 1]));
    assertTrue(refusal(deb).contains("/boot/config-6.1.0 has 4194305 bytes"), refusal(deb));
  }

  @Test
  void morePiecesThanTheHeapShouldHoldAListOfAreRefused() throws IOException {
    ByteArrayOutputStream tar = new ByteArrayOutputStream();
    try (TarArchiveOutputStream out = new TarArchiveOutputStream(new GZIPOutputStream(tar))) {
      for (int i = 0; i <= KernelArchive.MAX_FILES; i++) {
        out.putArchiveEntry(new TarArchiveEntry("lib/modules/6.1.0/m" + i + ".ko"));
        out.closeArchiveEntry();
      }
    }
    String message = refusal(data(tar));
    assertTrue(message.contains("more than 100000 modules"), message);
  }

  /** A package that dpkg-deb would not build. */
  private Path data(ByteArrayOutputStream tar) throws IOException {
    Path deb = directory.resolve("data.deb");
    try (ArArchiveOutputStream ar = new ArArchiveOutputStream(Files.newOutputStream(deb))) {
      ar.putArchiveEntry(new ArArchiveEntry("data.tar.gz", tar.size()));
      ar.write(tar.toByteArray());
      ar.closeArchiveEntry();
    }
    return deb;
  }

  @Test
  void aFileThatIsNoPackageIsRefused() throws IOException {
    Path file = Files.write(directory.resolve("x.deb"), KERNEL);
    assertTrue(refusal(file).startsWith("UNSUPPORTED: "), refusal(file));
    Path empty = Files.createFile(directory.resolve("empty.deb"));
    assertTrue(refusal(empty).contains("does not start with \"!<arch>\""), refusal(empty));
  }

  @ParameterizedTest
  @ValueSource(strings = {"gzip", "xz", "zstd"})
  void aPackageThatIsCutOffAnywhereIsRefused(String compression) throws IOException {
    Path deb = TestTools.debianPackage(directory, compression, "Architecture: amd64", FILES);
    byte[] content = Files.readAllBytes(deb);
    // The last byte may be the archive's padding.
    for (int length = 0; length < content.length - 1; length += 5) {
      Path cut = Files.write(directory.resolve("cut.deb"), Arrays.copyOf(content, length));
      refusal(cut);
    }
  }

  @Test
  void aHeaderThatWouldFillTheHeapIsRefused() throws IOException {
    ByteArrayOutputStream tar = new ByteArrayOutputStream();
    try (TarArchiveOutputStream out = new TarArchiveOutputStream(new GZIPOutputStream(tar))) {
      TarArchiveEntry longName = new TarArchiveEntry("long", TarConstants.LF_GNUTYPE_LONGNAME);
      longName.setSize(1 << 20);
      out.putArchiveEntry(longName);
      out.write(new byte[1 << 20]);
      out.closeArchiveEntry();
    }
    Path deb = data(tar);
    assertTrue(refusal(deb).contains("an extended header has more than"), refusal(deb));
  }

  @Test
  void aCompressionThatIsNotKnownIsRefused() throws IOException {
    Path deb = directory.resolve("lzma.deb");
    try (ArArchiveOutputStream ar = new ArArchiveOutputStream(Files.newOutputStream(deb))) {
      ar.putArchiveEntry(new ArArchiveEntry("data.tar.lzma", 4));
      ar.write(new byte[4]);
      ar.closeArchiveEntry();
    }
    assertTrue(refusal(deb).contains("data.tar.lzma is compressed in a way"), refusal(deb));
  }
}
