// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.files;

/** What kind of file. More may be added: a {@code switch} has a default. */
public enum FileType {
  /** One with content. */
  REGULAR_FILE,
  /** A directory. */
  DIRECTORY,
  /** A symbolic link. */
  SYMBOLIC_LINK,
  /** A character device. */
  CHARACTER_DEVICE,
  /** A block device. */
  BLOCK_DEVICE,
  /** A named pipe. */
  FIFO,
  /** A socket of the file system. */
  SOCKET,
  /** What this version does not know. */
  OTHER
}
