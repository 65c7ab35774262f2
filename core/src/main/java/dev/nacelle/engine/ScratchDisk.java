// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.NacelleException;
import dev.nacelle.Stage;
import dev.nacelle.image.ext4.Ext4Options;
import dev.nacelle.image.ext4.Ext4Writer;
import dev.nacelle.internal.DirectoryLocks;
import dev.nacelle.internal.PrivateFile;
import dev.nacelle.internal.Shortage;
import dev.nacelle.spi.DiskFormat;
import java.io.IOException;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * A disk of one machine, a file that takes space as the guest writes. Where the hypervisor has
 * opened it with the machine, its name is taken away then, and it ends with the machine or the
 * process, however that ends. Otherwise it has its name until the machine is closed.
 *
 * <p>While it has a name the name is locked, so what a process leaves that is killed meanwhile is
 * known to be nobody's, and is removed when the next disk is made.
 */
final class ScratchDisk implements AutoCloseable {
  private static final String PREFIX = "scratch-";
  private static final int BLOCK = 4096;

  private final Path file;
  private final DirectoryLocks.Held lock;

  /** Fills a filesystem, and finishes it. */
  @FunctionalInterface
  interface Content {
    void write(Ext4Writer writer) throws IOException;
  }

  private ScratchDisk(Path file, DirectoryLocks.Held lock) {
    this.file = file;
    this.lock = lock;
  }

  /**
   * Makes one in a directory, which is created when it is absent.
   *
   * @throws NacelleException when the disk cannot be made there
   */
  static ScratchDisk create(Path directory, DataSize size, DiskFormat format) {
    UUID id = UUID.randomUUID();
    return create(directory, Ext4Options.scratch(id, size.bytes()), format, Ext4Writer::finish);
  }

  /**
   * The same with something on it.
   *
   * @throws NacelleException when the disk cannot be made there; others as the content has them
   */
  static ScratchDisk create(
      Path directory, Ext4Options options, DiskFormat format, Content content) {
    String name = PREFIX + options.uuid() + "." + format.extension();
    DirectoryLocks locks = new DirectoryLocks(directory);
    DirectoryLocks.@Nullable Held lock = null;
    try {
      lock = locks.exclusive(name);
      removeLeftovers(directory, locks);
      ScratchDisk disk = new ScratchDisk(directory.resolve(name), lock);
      disk.write(options, format, content);
      lock = null;
      return disk;
    } catch (IOException e) {
      throw new NacelleException(
          Stage.CREATE,
          "A disk of "
              + DataSize.bytes(options.minimumBytes())
              + " cannot be made in "
              + directory
              + ": "
              + e,
          Shortage.remedy(
              e,
              "See that there is space and that it can be written to, or choose another directory"
                  + " with Nacelle.builder().scratchDirectory(...)."),
          e);
    } finally {
      if (lock != null) {
        lock.close();
      }
    }
  }

  private void write(Ext4Options options, DiskFormat format, Content content) throws IOException {
    try {
      PrivateFile.create(file);
      SeekableByteChannel disk = format.open(file, whole(options.minimumBytes()));
      try (Ext4Writer writer = Ext4Writer.create(disk, options)) {
        content.write(writer);
      }
    } catch (Throwable e) {
      Files.deleteIfExists(file);
      throw e;
    }
  }

  /** A disk is whole blocks; a filesystem leaves a rest of one at its end unused. */
  private static long whole(long bytes) {
    return bytes / BLOCK * BLOCK;
  }

  private static void removeLeftovers(Path directory, DirectoryLocks locks) throws IOException {
    try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, PREFIX + "*")) {
      for (Path file : files) {
        try (DirectoryLocks.Held held = locks.tryExclusive(file.getFileName().toString())) {
          if (held != null) {
            Files.deleteIfExists(file);
          }
        } catch (IOException e) {
          // Then it is in nobody's way but that of the disk's space.
        }
      }
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
  }

  /** The image, until it is closed. */
  Path file() {
    return file;
  }

  /** Takes the file's name away. Idempotent. */
  @Override
  public void close() {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      // The next disk's making removes it.
    }
    lock.close();
  }
}
