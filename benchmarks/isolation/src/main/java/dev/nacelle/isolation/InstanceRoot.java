// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * The root filesystem of one instance on the host: the image's, and over it a layer for what is
 * written, by overlayfs, as containers' managers do it and as a sandbox's agent does it in its
 * machine.
 */
final class InstanceRoot implements AutoCloseable {
  private static final String DEVICE = "unix:dev";

  /** So often, with a pause, are processes killed until none is left. */
  private static final int TRIES = 1000;

  private static final Duration PAUSE = Duration.ofMillis(5);

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

  /**
   * Mounts a directory of the host's in it, where the image has the place or it can be made.
   *
   * @param path absolute, of one name
   */
  void bind(String path) throws IOException {
    Path target = root.resolve(path.substring(1));
    // A link would lead out of the image: it is looked up from the host's root here.
    if (!Files.isDirectory(target, LinkOption.NOFOLLOW_LINKS)) {
      Files.createDirectory(target);
    }
    mount("bind", path, target, Mounts.BIND, "");
  }

  /**
   * Has a file of the host's in it, as it is: of all instances that run it there is one in memory.
   *
   * @param path absolute, of one name
   */
  void bind(Path file, String path) throws IOException {
    Path target = root.resolve(path.substring(1));
    Files.createFile(target);
    mount("bind", file.toString(), target, Mounts.BIND, "");
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

  /**
   * Kills the processes that have it as their root directory, and waits for their end.
   *
   * @throws IOException when some do not end
   */
  void endProcesses() throws IOException {
    Path real = root.toRealPath();
    for (int i = 0; i < TRIES; i++) {
      List<ProcessHandle> left =
          ProcessHandle.allProcesses().filter(process -> isIn(real, process)).toList();
      if (left.isEmpty()) {
        return;
      }
      left.forEach(ProcessHandle::destroyForcibly);
      LockSupport.parkNanos(PAUSE.toNanos());
    }
    throw new IOException("processes in " + root + " do not end");
  }

  /** Whether it is there, with a root directory in this one. */
  private static boolean isIn(Path root, ProcessHandle process) {
    try {
      return Files.readSymbolicLink(Path.of("/proc", String.valueOf(process.pid()), "root"))
          .startsWith(root);
    } catch (IOException e) {
      return false;
    }
  }

  /**
   * Ends what still runs in it, and removes it. Only where somebody uses it is there a search for
   * processes, which takes longer than all else.
   */
  @Override
  public void close() throws IOException {
    while (mounted.size() > 1) {
      Mounts.unmount(mounted.pop());
    }
    if (!mounted.isEmpty()) {
      Path last = mounted.pop();
      if (!Mounts.unmountUnused(last)) {
        try {
          endProcesses();
        } finally {
          Mounts.unmount(last);
        }
      }
    }
    removeTree(directory);
  }

  /**
   * Removes a tree of the host's own; links are removed, not followed.
   *
   * @throws IOException when something is still mounted in it, which is left as it is
   */
  static void removeTree(Path tree) throws IOException {
    Object device = Files.getAttribute(tree, DEVICE, LinkOption.NOFOLLOW_LINKS);
    Files.walkFileTree(
        tree,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path directory, BasicFileAttributes attributes)
              throws IOException {
            if (!Files.getAttribute(directory, DEVICE, LinkOption.NOFOLLOW_LINKS).equals(device)) {
              throw new IOException(directory + " is not removed: something is mounted there");
            }
            return FileVisitResult.CONTINUE;
          }

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
