// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.time.Instant;

/**
 * What every inode has, whatever its type.
 *
 * @param permissions the low 12 bits of the mode: set-uid, set-gid, sticky and nine permission bits
 * @param uid owner, an unsigned 32-bit number
 * @param gid group, an unsigned 32-bit number
 * @param modified mtime, and atime, ctime and crtime as well, which layers do not carry. ext4 holds
 *     1901-12-13 to 2446-05-10 with nanoseconds; what is outside becomes the nearer end.
 * @param extended extended attributes
 */
public record InodeAttributes(
    int permissions, long uid, long gid, Instant modified, ExtendedAttributes extended) {

  /**
   * @throws IllegalArgumentException when permissions, uid or gid is out of its range
   */
  public InodeAttributes {
    if ((permissions & ~07777) != 0) {
      throw new IllegalArgumentException("permissions out of range: " + permissions);
    }
    requireId("uid", uid);
    requireId("gid", gid);
  }

  /** Without extended attributes. */
  public InodeAttributes(int permissions, long uid, long gid, Instant modified) {
    this(permissions, uid, gid, modified, ExtendedAttributes.NONE);
  }

  private static void requireId(String what, long id) {
    if (id < 0 || id > 0xFFFF_FFFFL) {
      throw new IllegalArgumentException(what + " does not fit in 32 bits: " + id);
    }
  }
}
