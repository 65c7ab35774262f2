// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.internal.Zstd;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Optional;
import java.util.Properties;
import java.util.regex.Pattern;

/**
 * Nacelle's own kernels that come with the library, as artifacts {@code nacelle-kernel-SERIES}. An
 * artifact has {@code META-INF/nacelle/x86_64/kernel-SERIES.properties}, which says what the kernel
 * is, and beside it {@code vmlinux-SERIES.zst}. {@code guest-agent/kernel/artifact} writes both.
 */
final class BundledKernels {
  private static final String DIRECTORY = "META-INF/nacelle/x86_64/";
  private static final Pattern SHA256 = Pattern.compile("[0-9a-f]{64}");

  private final ClassLoader loader;

  /**
   * A kernel that is there, still packed.
   *
   * @param sha256 of the vmlinux, in hexadecimal digits
   * @param size of the vmlinux, in bytes
   * @param source the package that it was built from, with its version
   */
  record Bundled(String artifact, String resource, String sha256, long size, String source) {}

  /**
   * @param loader sees the artifacts: in its class path, or as modules
   */
  BundledKernels(ClassLoader loader) {
    this.loader = loader;
  }

  static BundledKernels besideThisLibrary() {
    return new BundledKernels(BundledKernels.class.getClassLoader());
  }

  static String artifact(String series) {
    return "nacelle-kernel-" + series;
  }

  Optional<Bundled> find(String series) throws IOException {
    String resource = DIRECTORY + "kernel-" + series + ".properties";
    Properties properties = new Properties();
    try (InputStream in = loader.getResourceAsStream(resource)) {
      if (in == null) {
        return Optional.empty();
      }
      properties.load(in);
    }
    String sha256 = properties.getProperty("sha256", "");
    String size = properties.getProperty("size", "");
    if (!SHA256.matcher(sha256).matches() || !size.matches("[0-9]{1,10}")) {
      throw new IOException(resource + " is damaged: it has no digest or no size");
    }
    return Optional.of(
        new Bundled(
            artifact(series),
            DIRECTORY + "vmlinux-" + series + ".zst",
            sha256,
            Long.parseLong(size),
            properties.getProperty("source", "")));
  }

  /** Unpacks it into an empty file. */
  void unpack(Bundled kernel, Path file) throws IOException {
    if (kernel.size() > KernelPayload.MAX_UNPACKED) {
      throw new IOException(kernel.artifact() + " claims " + kernel.size() + " bytes");
    }
    MessageDigest digest = Sha256.digest();
    try (InputStream packed = loader.getResourceAsStream(kernel.resource())) {
      if (packed == null) {
        throw new FileNotFoundException(kernel.artifact() + " has no " + kernel.resource());
      }
      try (InputStream in =
              Sha256.digesting(new BoundedInputStream(Zstd.open(packed), kernel.size()), digest);
          OutputStream out = Files.newOutputStream(file)) {
        in.transferTo(out);
      }
    }
    if (!HexFormat.of().formatHex(digest.digest()).equals(kernel.sha256())) {
      throw new IOException(
          kernel.artifact() + " is damaged: its vmlinux has not the digest " + kernel.sha256());
    }
  }
}
