// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import dev.nacelle.image.ext4.DataRange;
import dev.nacelle.image.ext4.FileName;
import java.time.Instant;
import java.util.List;
import java.util.Map;

/**
 * One file of an archive.
 *
 * @param path as it is in the archive, without NUL; a directory without a name is the root. The
 *     arrays are not to be changed.
 * @param linkTarget of a hard or symbolic link, else empty
 * @param permissions the low 12 bits of the mode
 * @param uid not negative
 * @param gid not negative
 * @param size of a regular file in bytes, holes included; 0 for other types
 * @param data what is no hole: in rising order, without overlap, within the size
 * @param major of a device; not negative
 * @param minor of a device; not negative
 * @param xattrs values by full name, such as "user.comment"; each character of a name is a byte
 */
@SuppressWarnings("ArrayRecordComponent") // nobody compares entries
public record TarEntry(
    Type type,
    byte[] path,
    byte[] linkTarget,
    int permissions,
    long uid,
    long gid,
    Instant modified,
    long size,
    List<DataRange> data,
    long major,
    long minor,
    Map<String, byte[]> xattrs) {
  /** What kind of file. */
  public enum Type {
    REGULAR_FILE,
    HARD_LINK,
    SYMBOLIC_LINK,
    CHARACTER_DEVICE,
    BLOCK_DEVICE,
    DIRECTORY,
    FIFO
  }

  /** The path, for messages. */
  @Override
  public String toString() {
    return FileName.printable(path);
  }
}
