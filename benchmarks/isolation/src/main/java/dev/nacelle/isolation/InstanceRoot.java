// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * The root filesystem of one instance on the host: the image's, and over it a layer for what is
 * written, by overlayfs, as containers' managers do it and as a sandbox's agent does it in its
 * machine.
 */
final class InstanceRoot implements AutoCloseable {
  private final Path directory;
  private final Path root;
  private final Deque<Path> mounted = new ArrayDeque<>();

  /**
   * @param directory for it, made here, on a filesystem that can be an upper layer
   */
  InstanceRoot(Path image, Path directory) throws IOException {
    this.directory = directory;
    root = directory.resolve("rootfs");
    Files.createDirectories(directory);
    try {
      Path upper = Files.createDirectory(directory.resolve("upper"));
      // Root's own directory of an overlay is the upper one: as an image's, not as mkdir makes it.
      Files.setPosixFilePermissions(upper, PosixFilePermissions.fromString("rwxr-xr-x"));
      Path work = Files.createDirectory(directory.resolve("work"));
      Files.createDirectory(root);
      mount(
          "overlay",
          "overlay",
          root,
          0,
          "lowerdir=" + image + ",upperdir=" + upper + ",workdir=" + work);
    } catch (IOException e) {
      try (this) {
        throw e;
      }
    }
  }

  Path path() {
    return root;
  }

  /** Mounts something in it, where the image has the place or it can be made. */
  void bind(String path) throws IOException {
    Path target = root.resolve(path.substring(1));
    Files.createDirectories(target);
    mount("bind", path, target, Mounts.BIND, "");
  }

  private void mount(String type, String source, Path target, long flags, String data)
      throws IOException {
    Mounts.mount(type, source, target, flags, data);
    mounted.push(target);
  }

  /**
   * Copies a program into it.
   *
   * @param path absolute in it
   */
  void put(Path program, String path) throws IOException {
    Path target = root.resolve(path.substring(1));
    Files.copy(program, target);
    Files.setPosixFilePermissions(target, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  @Override
  public void close() throws IOException {
    while (!mounted.isEmpty()) {
      Mounts.unmount(mounted.pop());
    }
    removeTree(directory);
  }

  /** Removes a tree of the host's own; links are removed, not followed. */
  static void removeTree(Path tree) throws IOException {
    Files.walkFileTree(
        tree,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
              throws IOException {
            Files.delete(file);
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(
              Path directory, @org.jspecify.annotations.Nullable IOException error)
              throws IOException {
            if (error != null) {
              throw error;
            }
            Files.delete(directory);
            return FileVisitResult.CONTINUE;
          }
        });
  }
}
