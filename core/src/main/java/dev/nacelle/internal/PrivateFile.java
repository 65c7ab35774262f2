// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;

/** Files that nobody else is to read: they hold what images and guests put there. */
public final class PrivateFile {
  private PrivateFile() {}

  /**
   * Creates an empty file that only its owner reads and writes, where the file system has POSIX
   * permissions. On Windows it has the rights that its directory hands down: below {@code
   * %LOCALAPPDATA%} those are of the user, of administrators, and of SYSTEM, as which Hyper-V opens
   * what its machines get.
   *
   * @throws java.nio.file.FileAlreadyExistsException when there is something of that name
   */
  public static void create(Path file) throws IOException {
    boolean posix = file.getFileSystem().supportedFileAttributeViews().contains("posix");
    FileAttribute<?>[] attributes =
        posix
            ? new FileAttribute<?>[] {
              PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"))
            }
            : new FileAttribute<?>[0];
    Files.createFile(file, attributes);
  }
}
