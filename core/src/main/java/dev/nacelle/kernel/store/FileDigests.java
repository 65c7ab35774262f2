// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.internal.FileCache;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Map;
import java.util.TreeMap;

/**
 * SHA-256 of files that rarely change, without reading them again: remembered by path, size, inode
 * and times. The change time is among them, which no program can set, so where Java does not tell
 * it, as on Windows, nothing is remembered; and, as in git's index, a file that was changed a
 * moment ago is not remembered, because a second change could leave all of that the same. Safe for
 * use from several threads.
 */
final class FileDigests {
  /** Coarsest time stamps of the file systems in use (FAT: 2 s). */
  private static final long SETTLED_MILLIS = 3_000;

  private final FileCache cache;

  FileDigests(FileCache cache) {
    this.cache = cache;
  }

  /** 64 lower-case hexadecimal digits. */
  String sha256(Path file) throws IOException {
    Path real = file.toRealPath();
    if (!real.getFileSystem().supportedFileAttributeViews().contains("unix")) {
      return Sha256.hex(real);
    }
    Map<String, Object> state = state(real);
    long settled = System.currentTimeMillis() - SETTLED_MILLIS;
    if (state.values().stream()
        .anyMatch(value -> value instanceof FileTime time && time.toMillis() > settled)) {
      return Sha256.hex(real);
    }
    String key = Sha256.hex((real + "\n" + state).getBytes(StandardCharsets.UTF_8)) + ".sha256";
    Path remembered =
        cache.get(
            key,
            out -> {
              String sha256 = Sha256.hex(real);
              if (!state(real).equals(state)) {
                throw changing(real);
              }
              Files.writeString(out, sha256);
            });
    return Files.readString(remembered);
  }

  /** What is said of a file, or of a reference to one, that is written meanwhile. */
  static KernelException changing(Object what) {
    return new KernelException(
        KernelException.Reason.CHANGING, what + " changes while it is read", "Try again.", null);
  }

  private static Map<String, Object> state(Path real) throws IOException {
    return new TreeMap<>(
        Files.readAttributes(
            real, "unix:size,lastModifiedTime,ctime,ino,dev", LinkOption.NOFOLLOW_LINKS));
  }
}
