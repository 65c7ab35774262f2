// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;

/** {@code struct ext4_group_desc} (group_descr.rst) of a filesystem without the 64bit feature. */
record GroupDescriptor(
    long blockBitmap,
    long inodeBitmap,
    long inodeTable,
    int freeBlocks,
    int freeInodes,
    int directories) {
  // bg_flags
  /** The bitmap on the disk means nothing: no inode of the group is in use. */
  static final int INODE_BITMAP_UNINITIALISED = 0x1;

  /**
   * The bitmap on the disk means nothing: nothing in the group is in use but a copy of the
   * superblock and the descriptors. Not for the first group, nor for the last, whose bitmap also
   * says where the disk ends.
   */
  static final int BLOCK_BITMAP_UNINITIALISED = 0x2;

  /**
   * The table reads as zeros: a kernel must not zero it, which would fill the holes of the file.
   */
  private static final int INODE_TABLE_ZEROED = 0x4;

  private static final int FLAGS = 0x12;
  private static final int UNUSED_INODES = 0x1C;
  private static final int CHECKSUM = 0x1E;

  /** The polynomial of CRC-16 as the kernel's lib/crc16.c has it, with its bits reversed. */
  private static final int CRC16 = 0xA001;

  /** As a filesystem without {@code gdt_csum} has it. */
  ByteBuffer encode() {
    ByteBuffer out = Ext4Format.littleEndian(new byte[Ext4Format.DESCRIPTOR_SIZE]);
    out.putInt((int) blockBitmap).putInt((int) inodeBitmap).putInt((int) inodeTable);
    out.putShort((short) freeBlocks).putShort((short) freeInodes).putShort((short) directories);
    return out.rewind();
  }

  /**
   * As {@code gdt_csum} has it, on an image file whose inode tables are holes. The free inodes are
   * the group's last ones.
   */
  ByteBuffer encode(int flags, int group, byte[] filesystemUuid) {
    byte[] bytes = new byte[Ext4Format.DESCRIPTOR_SIZE];
    encode().get(bytes);
    ByteBuffer out = Ext4Format.littleEndian(bytes);
    out.putShort(FLAGS, (short) (flags | INODE_TABLE_ZEROED));
    out.putShort(UNUSED_INODES, (short) freeInodes);
    byte[] number = new byte[4];
    Ext4Format.littleEndian(number).putInt(group);
    int crc = crc16(0xFFFF, filesystemUuid, filesystemUuid.length);
    crc = crc16(crc, number, number.length);
    out.putShort(CHECKSUM, (short) crc16(crc, bytes, CHECKSUM));
    return out;
  }

  private static int crc16(int start, byte[] bytes, int length) {
    int crc = start;
    for (int i = 0; i < length; i++) {
      crc ^= bytes[i] & 0xFF;
      for (int bit = 0; bit < 8; bit++) {
        crc = (crc >>> 1) ^ ((crc & 1) * CRC16);
      }
    }
    return crc;
  }
}
