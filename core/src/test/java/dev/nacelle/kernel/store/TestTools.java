// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** The independent tools that judge what Nacelle reads and writes. */
final class TestTools {
  private TestTools() {}

  /** What a tool makes of its stdin; it must succeed. */
  static byte[] pipe(byte[] input, String... command) throws IOException {
    Path file = Files.createTempFile("nacelle-test", ".in");
    try {
      Files.write(file, input);
      Process process =
          new ProcessBuilder(command)
              .redirectInput(file.toFile())
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
      try (InputStream out = process.getInputStream()) {
        byte[] output = out.readAllBytes();
        assertEquals(0, process.waitFor(), () -> String.join(" ", command));
        return output;
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new AssertionError(e);
      }
    } finally {
      Files.delete(file);
    }
  }

  static String run(String... command) {
    try {
      return new String(pipe(new byte[0], command), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * A Debian package, built by dpkg-deb.
   *
   * @param compression as dpkg-deb's -Z takes it
   * @param control lines besides Package, Version, Maintainer and Description
   * @param files content by absolute path
   */
  static Path debianPackage(
      Path directory, String compression, String control, Map<String, byte[]> files)
      throws IOException {
    Path root = Files.createTempDirectory(directory, "package");
    for (Map.Entry<String, byte[]> file : files.entrySet()) {
      Path path = root.resolve(file.getKey().substring(1));
      Files.createDirectories(path.getParent());
      Files.write(path, file.getValue());
    }
    Files.createDirectories(root.resolve("DEBIAN"));
    Files.writeString(
        root.resolve("DEBIAN/control"),
        "Package: linux-image-test\nVersion: 1\nMaintainer: Nobody <nobody@example.com>\n"
            + control
            + "\nDescription: test\n");
    Path deb = directory.resolve(root.getFileName() + ".deb");
    run(
        "dpkg-deb",
        "--root-owner-group",
        "-Z" + compression,
        "-z1",
        "--build",
        root.toString(),
        deb.toString());
    return deb;
  }

  /** A package with an LZ4 bzImage of that release, a configuration, and a module. */
  static Path kernelPackage(Path directory, String release) throws IOException {
    byte[] vmlinux = TestElf.kernel(release).build();
    byte[] packed = pipe(vmlinux, "lz4", "-l", "-9", "-", "-");
    String modules = "/lib/modules/" + release;
    return debianPackage(
        directory,
        "none",
        "Architecture: amd64",
        Map.of(
            "/boot/vmlinuz-" + release,
            TestBzImage.of(packed, vmlinux.length),
            "/boot/config-" + release,
            "CONFIG_MODULES=y\nCONFIG_OVERLAY_FS=m\n".getBytes(StandardCharsets.US_ASCII),
            modules + "/modules.builtin",
            "kernel/fs/ext4/ext4.ko\n".getBytes(StandardCharsets.US_ASCII),
            modules + "/kernel/fs/overlayfs/overlay.ko",
            TestElf.module("depends=", "vermagic=" + release + " SMP ")));
  }
}
