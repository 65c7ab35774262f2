// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** Files that nobody else is to read: they hold what images and guests put there. */
public final class PrivateFile {
  private static final FileAttribute<?> OWNER_ALONE =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
  private static final Set<OpenOption> OPTIONS =
      Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE, StandardOpenOption.SPARSE);

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
    Files.createFile(file, attributes(file));
  }

  /**
   * Creates one, and opens it to be written, with holes where nothing is.
   *
   * @throws java.nio.file.FileAlreadyExistsException when there is something of that name, be it a
   *     link
   */
  public static FileChannel open(Path file) throws IOException {
    return FileChannel.open(file, OPTIONS, attributes(file));
  }

  private static FileAttribute<?>[] attributes(Path file) {
    boolean posix = file.getFileSystem().supportedFileAttributeViews().contains("posix");
    return posix ? new FileAttribute<?>[] {OWNER_ALONE} : new FileAttribute<?>[0];
  }
}
