// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.KernelException;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.kernel.KernelRef;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever the readers are given, they accept it or throw a {@link KernelException}. Run with
 * JAZZER_FUZZ=1 to search; otherwise the seeds alone are tried.
 */
class KernelFuzzTest {
  @TempDir static Path directory;

  static Stream<byte[]> kernels() throws IOException {
    byte[] vmlinux = TestElf.kernel("6.1.0").build();
    return Stream.of(
        vmlinux,
        TestBzImage.of(TestTools.pipe(vmlinux, "gzip", "-n"), -1),
        TestBzImage.of(TestTools.pipe(vmlinux, "bzip2"), vmlinux.length),
        TestBzImage.of(TestTools.pipe(vmlinux, "lzma"), vmlinux.length),
        TestBzImage.of(
            TestTools.pipe(vmlinux, "xz", "--check=crc32", "--x86", "--lzma2"), vmlinux.length),
        TestBzImage.of(TestTools.pipe(vmlinux, "lz4", "-l", "-", "-"), vmlinux.length),
        TestBzImage.of(TestTools.pipe(vmlinux, "lzop"), vmlinux.length),
        TestBzImage.of(TestTools.pipe(vmlinux, "lzop", "--crc32"), vmlinux.length),
        TestBzImage.of(TestTools.pipe(vmlinux, "zstd", "--ultra", "-22"), vmlinux.length));
  }

  @MethodSource("kernels")
  @FuzzTest
  void kernelImages(byte[] image) throws IOException {
    Path file = directory.resolve("vmlinux");
    Files.write(file, image);
    try {
      KernelImage.unpack("it", file);
    } catch (KernelException expected) {
      // That is what it is for.
    }
  }

  /** What CONFIG_IKCONFIG embeds, put into a kernel by the test: its marker and a gzip member. */
  static Stream<byte[]> configurations() throws IOException {
    byte[] text = "CONFIG_VSOCKETS=y\nCONFIG_A=\"=\"\n# CONFIG_B is not set\n".getBytes(US_ASCII);
    byte[] gzip = TestTools.pipe(text, "gzip", "-n");
    return Stream.of(embedded(gzip), embedded(new byte[0]), embedded(embedded(gzip)));
  }

  private static byte[] embedded(byte[] gzip) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes("IKCFG_ST".getBytes(US_ASCII));
    out.writeBytes(gzip);
    out.writeBytes("IKCFG_ED".getBytes(US_ASCII));
    return out.toByteArray();
  }

  @MethodSource("configurations")
  @FuzzTest
  void configurations(byte[] section) throws IOException {
    Path file = directory.resolve("configured");
    Files.write(file, TestElf.kernel("6.1.0").section(".rodata", section).build());
    Vmlinux vmlinux = Vmlinux.inspect("it", file);
    vmlinux.config().ifPresent(text -> new KernelConfig(text).value("VSOCKETS"));
    Path facts = directory.resolve("facts");
    KernelFacts found =
        new KernelFacts(
            vmlinux.version(), vmlinux.build(), "", vmlinux.config().map(KernelConfig::new));
    found.write(facts);
    KernelFacts read = KernelFacts.read(facts);
    String text = vmlinux.config().orElse("");
    if (!read.version().equals("6.1.0")
        || !read.config().map(KernelConfig::text).orElse("").equals(text)) {
      throw new AssertionError("what is known of a kernel does not read as it is written");
    }
  }

  static Stream<byte[]> modules() {
    return Stream.of(
        TestElf.module("depends=a,b", "softdep=pre: c post: d", "vermagic=6.1.0 SMP", "name=x"),
        TestElf.module());
  }

  @MethodSource("modules")
  @FuzzTest
  void modules(byte[] module) throws IOException {
    try {
      ModuleInfo info = ModuleInfo.read("it", module);
      info.dependencies();
      info.softDependencies();
      info.requireVersion("6.1.0");
    } catch (KernelException expected) {
      // That is what it is for.
    }
  }

  static Stream<byte[]> builtInLists() {
    return Stream.of(
        "kernel/fs/ext4/ext4.ko\nkernel/drivers/net/x-y.ko\n".getBytes(StandardCharsets.UTF_8),
        "\n.ko\na.ko.ko\n/.ko\nkernel/a.ko.xz".getBytes(StandardCharsets.UTF_8));
  }

  @MethodSource("builtInLists")
  @FuzzTest
  void builtInLists(byte[] list) throws IOException {
    Path zip = directory.resolve("list.zip");
    try (KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(zip))) {
      writer.putModuleFile("6.1.0", "modules.builtin", list);
    }
    try (KernelArchive archive = new KernelArchive("it", zip)) {
      archive.builtIn("6.1.0");
      if (!archive.modules("6.1.0").isEmpty()) {
        throw new AssertionError("a list is no module");
      }
    }
  }

  static Stream<byte[]> packages() throws IOException {
    Path deb = TestTools.kernelPackage(directory, "6.1.0");
    Path other =
        TestTools.debianPackage(
            directory, "gzip", "Architecture: amd64", Map.of("/boot/vmlinuz-6.1", new byte[8]));
    return Stream.of(Files.readAllBytes(deb), Files.readAllBytes(other));
  }

  @MethodSource("packages")
  @FuzzTest
  void packages(byte[] content) throws IOException {
    Path zip = directory.resolve("fuzz.zip");
    try (KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(zip))) {
      DebPackage.extract("it", new ByteArrayInputStream(content), writer);
    } catch (KernelException expected) {
      return;
    }
    try (KernelArchive archive = new KernelArchive("it", zip)) {
      for (String version : archive.moduleVersions()) {
        archive.modules(version);
        archive.builtIn(version);
      }
    }
  }

  static Stream<byte[]> modulesOfImages() throws IOException {
    byte[] module = TestElf.module("depends=", "vermagic=6.1.0 SMP");
    byte[] tar =
        new TarMaker()
            .directory("./lib/modules/6.1.0/")
            .file("./lib/modules/6.1.0/modules.builtin", "kernel/a.ko\n")
            .add(TarMaker.header('0', "./lib/modules/6.1.0/kernel/b.ko"), module)
            .file("usr/src/linux-headers-6.1.0/.config", "CONFIG_A=y\n")
            .finish();
    return Stream.of(
        tar,
        TestTools.pipe(tar, "gzip", "-n"),
        TestTools.pipe(tar, "xz", "-0"),
        TestTools.pipe(tar, "zstd", "-1"));
  }

  @MethodSource("modulesOfImages")
  @FuzzTest
  void modulesOfImages(byte[] tar) throws IOException {
    Path zip = directory.resolve("image.zip");
    try (KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(zip))) {
      writer.putKernel(new byte[1]);
      LinuxKitImage.readTar("it", "kernel.tar", new ByteArrayInputStream(tar), writer);
      LinuxKitImage.readTar("it", "kernel-dev.tar", new ByteArrayInputStream(tar), writer);
    } catch (KernelException expected) {
      return;
    }
    try (KernelArchive archive = new KernelArchive("it", zip)) {
      for (String version : archive.moduleVersions()) {
        archive.modules(version);
        archive.builtIn(version);
        archive.config(version);
      }
    }
  }

  static Stream<byte[]> lockFiles() {
    String pin = "@sha256:" + "0".repeat(64);
    String entry =
        "\"%1$s\": {\"kernel\": \"%1$s%2$s\", \"release\": \"6.1\", \"architecture\": \"x86_64\", \"source\": \"here\"}";
    return Stream.of(
            "{\"version\": 1, \"kernels\": {}}",
            "{\"version\": 1, \"kernels\": {%s, %s}}"
                .formatted(entry.formatted("debian:6.1", pin), entry.formatted("file:/k", pin)),
            "{\"version\": 1, \"kernels\": {%s}}"
                .formatted(
                    entry
                        .formatted("default", "")
                        .replace("\"kernel\": \"default", "\"kernel\": \"debian:6.1" + pin)))
        .map(text -> text.getBytes(StandardCharsets.UTF_8));
  }

  @MethodSource("lockFiles")
  @FuzzTest
  void lockFiles(byte[] text) throws IOException {
    KernelLockFile file = new KernelLockFile(Path.of("/kernels.lock.json"));
    KernelLockFile.Content content;
    try {
      content = file.parse(text);
    } catch (KernelException expected) {
      return;
    }
    byte[] written = KernelLockFile.format(content);
    if (!Arrays.equals(written, KernelLockFile.format(file.parse(written)))) {
      throw new AssertionError("a lock file does not read as it is written");
    }
  }

  static Stream<byte[]> references() {
    return Stream.of(
        "file:/boot/vmlinuz".getBytes(StandardCharsets.UTF_8),
        "image:localhost:5000/linuxkit/kernel:6.6".getBytes(StandardCharsets.UTF_8),
        ("image:oci:/srv/kernels@sha256:" + "0".repeat(64)).getBytes(StandardCharsets.UTF_8),
        ("debian:6.1@sha256:" + "0".repeat(64)).getBytes(StandardCharsets.UTF_8));
  }

  @MethodSource("references")
  @FuzzTest
  void references(byte[] text) {
    try {
      KernelRef ref = KernelRef.parse(new String(text, StandardCharsets.UTF_8));
      if (!ref.equals(KernelRef.parse(ref.toString()))) {
        throw new AssertionError(ref + " does not read as it is written");
      }
    } catch (IllegalArgumentException expected) {
      // That is what it is for.
    }
  }
}
