// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.internal.Zstd;
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
import org.jspecify.annotations.Nullable;

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
      throw damaged(artifact(series), resource + " has no digest or no size", null);
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
      throw damaged(kernel.artifact(), "it claims " + kernel.size() + " bytes", null);
    }
    MessageDigest digest = Sha256.digest();
    try (InputStream packed = loader.getResourceAsStream(kernel.resource())) {
      if (packed == null) {
        throw damaged(kernel.artifact(), "it has no " + kernel.resource(), null);
      }
      try (InputStream in =
              Sha256.digesting(new BoundedInputStream(Zstd.open(packed), kernel.size()), digest);
          OutputStream out = Files.newOutputStream(file)) {
        copy(kernel, in, out);
      }
    }
    if (!HexFormat.of().formatHex(digest.digest()).equals(kernel.sha256())) {
      throw damaged(kernel.artifact(), "its vmlinux has not the digest " + kernel.sha256(), null);
    }
  }

  /** What cannot be read is the artifact's fault, what cannot be written the disk's. */
  private static void copy(Bundled kernel, InputStream in, OutputStream out) throws IOException {
    byte[] buffer = new byte[1 << 16];
    while (true) {
      int n;
      try {
        n = in.read(buffer);
      } catch (IOException e) {
        throw damaged(kernel.artifact(), e.getMessage(), e);
      }
      if (n < 0) {
        return;
      }
      out.write(buffer, 0, n);
    }
  }

  private static KernelException damaged(
      String artifact, @Nullable String why, @Nullable Exception cause) {
    return new KernelException(
        KernelException.Reason.DAMAGED,
        "The artifact " + artifact + " is damaged: " + why,
        "Fetch it again.",
        cause);
  }
}
