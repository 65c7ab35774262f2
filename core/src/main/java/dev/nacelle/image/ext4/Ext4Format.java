// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Numbers of the on-disk format, and the choices made among them.
 *
 * <p>Sources: the kernel's "ext4 Data Structures and Algorithms" (Documentation/filesystems/ext4;
 * its page is named at each group), and lib/ext2fs/ext2_fs.h of e2fsprogs for names. All fields are
 * little-endian.
 *
 * <p>Left out on purpose: {@code metadata_csum} (an image is already verified by digest, and some
 * kernels have its crc32c as a module only) and, but for disks, {@code gdt_csum}; a journal but for
 * disks that are kept (an image is read-only, and a scratch disk goes with its machine: there is no
 * second mount that could replay one), {@code 64bit} (16 TiB is enough), {@code inline_data} and
 * {@code ea_inode} (not in kernels before 3.8 and 4.13).
 */
final class Ext4Format {
  /** Bytes of a block; the only size that every kernel mounts on every page size. */
  static final int BLOCK_SIZE = 4096;

  /** One bitmap block has a bit for each block of a group (blockgroup.rst). */
  static final int BLOCKS_PER_GROUP = BLOCK_SIZE * 8;

  /** Block numbers have 32 bits without the 64bit feature. */
  static final long MAX_BLOCKS = 1L << 32;

  /** File-logical block numbers have 32 bits in extents, the last one is reserved (ifork.rst). */
  static final long MAX_FILE_SIZE = ((1L << 32) - 1) * BLOCK_SIZE;

  /** Bytes of a group descriptor without the 64bit feature (group_descr.rst). */
  static final int DESCRIPTOR_SIZE = 32;

  static final int DESCRIPTORS_PER_BLOCK = BLOCK_SIZE / DESCRIPTOR_SIZE;

  /** Blocks of descriptors that the largest filesystem needs. */
  static final int MAX_DESCRIPTOR_BLOCKS =
      (int) (MAX_BLOCKS / BLOCKS_PER_GROUP / DESCRIPTORS_PER_BLOCK);

  /** Byte offset of the superblock in group 0; a backup is at offset 0 of its group (super.rst). */
  static final int SUPERBLOCK_OFFSET = 1024;

  static final int SUPERBLOCK_SIZE = 1024;

  /** Bytes of an inode in the table, of which 128 are the classic part (inodes.rst). */
  static final int INODE_SIZE = 256;

  static final int CLASSIC_INODE_SIZE = 128;
  static final int INODES_PER_BLOCK = BLOCK_SIZE / INODE_SIZE;

  /** {@code i_extra_isize} with everything up to {@code i_projid} (inodes.rst). */
  static final int EXTRA_INODE_SIZE = 32;

  /** A group's inode bitmap is one block. */
  static final int MAX_INODES_PER_GROUP = BLOCK_SIZE * 8;

  /** special_inodes.rst: 2 is the root directory, 1 to 10 are reserved. */
  static final int ROOT_INODE = 2;

  static final int FIRST_INODE = 11;

  static final int JOURNAL_INODE = 8;

  /** EXT4_LINK_MAX (fs/ext4/ext4.h). */
  static final int MAX_LINKS = 65_000;

  // i_mode (inodes.rst).
  static final int S_IFIFO = 0x1000;
  static final int S_IFCHR = 0x2000;
  static final int S_IFDIR = 0x4000;
  static final int S_IFBLK = 0x6000;
  static final int S_IFREG = 0x8000;
  static final int S_IFLNK = 0xA000;
  static final int S_IFSOCK = 0xC000;

  // i_flags (inodes.rst).
  static final int INDEX_FLAG = 0x1000;
  static final int EXTENTS_FLAG = 0x80000;

  private Ext4Format() {}

  static ByteBuffer littleEndian(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  static ByteBuffer newBlock() {
    return littleEndian(new byte[BLOCK_SIZE]);
  }

  static long blocksFor(long bytes) {
    return ceilDiv(bytes, BLOCK_SIZE);
  }

  /** Of non-negative numbers, without overflow. */
  static long ceilDiv(long dividend, long divisor) {
    return dividend / divisor + (dividend % divisor == 0 ? 0 : 1);
  }

  static int align4(int length) {
    return (length + 3) & ~3;
  }

  /**
   * Whether a group begins with a copy of the superblock and the descriptors: with {@code
   * sparse_super}, groups 0, 1 and the powers of 3, 5 and 7 (blockgroup.rst). The later {@code
   * sparse_super2} would do without copies, but it is a "compatible" feature: kernels that do not
   * know it still expect the copies, and refuse file data in their place.
   */
  static boolean hasSuperblock(long group) {
    return group <= 1 || isPowerOf(3, group) || isPowerOf(5, group) || isPowerOf(7, group);
  }

  private static boolean isPowerOf(int base, long number) {
    long power = base;
    while (power < number) {
      power *= base;
    }
    return power == number;
  }
}
