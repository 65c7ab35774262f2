// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
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
    Files.write(file, new byte[0]);
    try {
      KernelImage.unpack("it", Bytes.of(image), file);
    } catch (KernelException expected) {
      // That is what it is for.
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
    Path deb = Files.write(directory.resolve("fuzz.deb"), content);
    Path zip = directory.resolve("fuzz.zip");
    try (KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(zip))) {
      DebPackage.extract("it", deb, writer);
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

  static Stream<byte[]> references() {
    return Stream.of(
        "file:/boot/vmlinuz".getBytes(StandardCharsets.UTF_8),
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
    } catch (KernelException expected) {
      // That is what it is for.
    }
  }
}
