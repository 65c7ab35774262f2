// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;

/** Opens what a user names, where opening anything but a regular file could wait for ever. */
public final class RegularFile {
  private RegularFile() {}

  /**
   * Opens a regular file for reading.
   *
   * <p>Java cannot open without waiting (O_NONBLOCK), so it is looked first: whoever can put a FIFO
   * in the file's place in that moment can make this wait, which only who may write to its
   * directory can.
   *
   * @throws java.nio.file.NoSuchFileException when there is nothing of that name
   * @throws FileSystemException when it is a FIFO, a socket, a device or a directory, saying which
   */
  public static InputStream open(Path file) throws IOException {
    require(file);
    return Files.newInputStream(file);
  }

  /**
   * Looks whether it is a regular file, or a link to one.
   *
   * @throws IOException see {@link #open}
   */
  public static void require(Path file) throws IOException {
    BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
    if (!attributes.isRegularFile()) {
      throw new FileSystemException(
          file.toString(),
          null,
          attributes.isDirectory()
              ? "is a directory, not a regular file"
              : "is a FIFO, a socket or a device, not a regular file");
    }
  }
}
