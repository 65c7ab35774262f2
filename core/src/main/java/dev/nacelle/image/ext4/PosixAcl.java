// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;

/**
 * POSIX ACLs: from the form in which extended attributes show them (include/uapi/linux/
 * posix_acl_xattr.h: version 2, 8 bytes per entry) to the form on disk (fs/ext4/acl.h: version 1,
 * the id only where it means something).
 */
final class PosixAcl {
  private static final int XATTR_VERSION = 2;
  private static final int DISK_VERSION = 1;

  // Tags of include/uapi/linux/posix_acl.h.
  private static final int USER_OBJ = 0x01;
  private static final int USER = 0x02;
  private static final int GROUP_OBJ = 0x04;
  private static final int GROUP = 0x08;
  private static final int MASK = 0x10;
  private static final int OTHER = 0x20;

  private PosixAcl() {}

  /**
   * @throws IllegalArgumentException when the value is no ACL
   */
  static byte[] toDisk(String name, byte[] value) {
    ByteBuffer in = Ext4Format.littleEndian(value);
    if (value.length < 4 || (value.length - 4) % 8 != 0 || in.getInt() != XATTR_VERSION) {
      throw new IllegalArgumentException(name + " is not a POSIX ACL of version 2");
    }
    ByteBuffer out = Ext4Format.littleEndian(new byte[value.length]);
    out.putInt(DISK_VERSION);
    while (in.hasRemaining()) {
      short tag = in.getShort();
      short permissions = in.getShort();
      int id = in.getInt();
      out.putShort(tag).putShort(permissions);
      switch (tag) {
        case USER, GROUP -> out.putInt(id);
        case USER_OBJ, GROUP_OBJ, MASK, OTHER -> {}
        default ->
            throw new IllegalArgumentException(name + " holds an entry with unknown tag " + tag);
      }
    }
    byte[] disk = new byte[out.position()];
    out.flip().get(disk);
    return disk;
  }
}
