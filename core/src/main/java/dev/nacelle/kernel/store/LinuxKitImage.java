// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.DataSize;
import dev.nacelle.KernelException;
import dev.nacelle.NacelleException;
import dev.nacelle.image.store.OpenImage;
import dev.nacelle.image.tar.TarEntry;
import dev.nacelle.image.tar.TarReader;
import dev.nacelle.internal.FileCache;
import dev.nacelle.internal.PrivateFile;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Reads an OCI image that is laid out as LinuxKit's kernel images are, and keeps what belongs to
 * its kernel in a {@link KernelArchive}. In its root directory there are
 *
 * <ul>
 *   <li>{@code kernel}, a bzImage or vmlinux;
 *   <li>{@code kernel.tar}, which may be missing, with the modules below {@code lib/modules};
 *   <li>{@code kernel-dev.tar}, which may be missing, with the configuration as {@code
 *       usr/src/linux-headers-RELEASE/.config}.
 * </ul>
 *
 * <p>The tar archives may be compressed with gzip, XZ or Zstandard. Nothing else is looked at.
 */
final class LinuxKitImage {
  private static final String KERNEL = "kernel";
  private static final String MODULES = "kernel.tar";
  private static final String DEVELOPMENT = "kernel-dev.tar";

  private static final Pattern CONFIG_FILE =
      Pattern.compile("usr/src/linux-headers-([^/]{1,64})/\\.config");

  /** Largest tar archive, and what it may unpack to. */
  private static final DataSize MAX_TAR = DataSize.gibibytes(8);

  /** Of a tar archive's extended headers, which hold little more than a path. */
  private static final int MAX_TAR_HEADER = 64 << 10;

  /** Takes a file of a tar archive, whose path matched. */
  private interface FileTaker {
    void take(String release, String path, byte[] content) throws IOException;
  }

  private LinuxKitImage() {}

  /**
   * Writes the kernel, its configuration and its modules to an archive.
   *
   * @param name what to call the image in errors
   * @param archive an empty file, in whose directory there is space for the image's files
   * @throws KernelException when there is no kernel in it
   * @throws dev.nacelle.ImageException when the image is damaged
   */
  static void extract(String name, OpenImage image, Path archive) throws IOException {
    Map<String, Path> files = new LinkedHashMap<>();
    try {
      for (String file : List.of(KERNEL, MODULES, DEVELOPMENT)) {
        Path copy = FileCache.temporary(archive, "." + file);
        PrivateFile.create(copy);
        files.put(file, copy);
      }
      Set<String> found = image.copyFiles(files, MAX_TAR);
      if (!found.contains(KERNEL)) {
        throw new KernelException(
            KernelException.Reason.UNSUPPORTED,
            name + " has no kernel in it: no /kernel",
            "Use an image that is laid out as LinuxKit's kernel images are: /kernel, and its modules"
                + " in /kernel.tar.",
            null);
      }
      try (KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(archive))) {
        writer.putKernel(kernel(name, files));
        for (String tar : found) {
          if (!tar.equals(KERNEL)) {
            try (InputStream in = Files.newInputStream(files.get(tar))) {
              readTar(name, tar, in, writer);
            }
          }
        }
      }
    } finally {
      for (Path file : files.values()) {
        Files.deleteIfExists(file);
      }
    }
  }

  private static byte[] kernel(String name, Map<String, Path> files) throws IOException {
    Path file = Objects.requireNonNull(files.get(KERNEL));
    KernelArchive.requireSize(name + ": /" + KERNEL, Files.size(file), KernelArchive.MAX_FILE);
    return Files.readAllBytes(file);
  }

  /** Keeps the modules of {@code kernel.tar}, or the configuration in {@code kernel-dev.tar}. */
  static void readTar(String name, String tar, InputStream file, KernelArchive.Writer writer)
      throws IOException {
    String where = name + ": /" + tar;
    try {
      if (tar.equals(MODULES)) {
        read(where, file, KernelArchive.MODULE_FILE, KernelArchive.MAX_FILE, writer::putModuleFile);
      } else {
        read(
            where,
            file,
            CONFIG_FILE,
            KernelConfig.MAX_SIZE,
            (release, path, text) -> writer.putConfig(release, text));
      }
    } catch (NacelleException e) {
      throw e;
    } catch (IOException | RuntimeException e) {
      throw Remedies.damaged(where, "Build the image anew.", e);
    }
  }

  private static void read(
      String where, InputStream file, Pattern wanted, int maxSize, FileTaker taker)
      throws IOException {
    try (InputStream unpacked = new BoundedInputStream(Compressed.openTar(file), MAX_TAR.bytes())) {
      readFiles(where, unpacked, wanted, maxSize, taker);
      // Only behind the archive's end does a decompressor see that nothing is missing.
      unpacked.transferTo(OutputStream.nullOutputStream());
    }
  }

  private static void readFiles(
      String where, InputStream unpacked, Pattern wanted, int maxSize, FileTaker taker)
      throws IOException {
    TarReader tar = new TarReader(unpacked, MAX_TAR_HEADER);
    for (TarEntry entry; (entry = tar.next()) != null; ) {
      String path = new String(entry.path(), StandardCharsets.UTF_8).replaceFirst("^(\\./|/)+", "");
      Matcher matcher = wanted.matcher(path);
      if (entry.type() == TarEntry.Type.REGULAR_FILE && matcher.matches()) {
        KernelArchive.requireSize(where + ": " + path, entry.size(), maxSize);
        byte[] content = tar.content().readNBytes((int) entry.size());
        if (content.length != entry.size()) {
          throw new IOException("the file " + path + " is sparse");
        }
        taker.take(matcher.group(1), matcher.groupCount() > 1 ? matcher.group(2) : path, content);
      }
    }
  }
}
