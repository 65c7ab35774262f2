// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** {@code struct ext4_super_block} of super.rst; offsets are those of its table. */
final class Superblock {
  static final int MAGIC = 0xEF53;
  static final int CLEAN = 1;
  private static final int CONTINUE_ON_ERRORS = 1;
  private static final int DYNAMIC_REVISION = 1;

  /** log2 of a block over 1 KiB. */
  private static final int LOG_BLOCK_SIZE = 2;

  /** ext_attr, dir_index. */
  private static final int COMPATIBLE = 0x8 | 0x20;

  private static final int HAS_JOURNAL = 0x4;

  /** filetype, extents, flex_bg. */
  private static final int INCOMPATIBLE = 0x2 | 0x40 | 0x200;

  /** sparse_super, large_file, huge_file, dir_nlink, extra_isize. */
  private static final int READ_ONLY_COMPATIBLE = 0x1 | 0x2 | 0x8 | 0x20 | 0x40;

  /** gdt_csum, which is what uninit_bg is called since kernels have it. */
  private static final int DESCRIPTOR_CHECKSUMS = 0x10;

  /** user_xattr and acl, which kernels before 2.6.39 do not assume. */
  private static final int MOUNT_OPTIONS = 0x4 | 0x8;

  /** 16 groups, as mke2fs has it. */
  private static final int LOG_GROUPS_PER_FLEX = 4;

  private Superblock() {}

  /**
   * @param journal where there is one
   * @param group in which this copy is
   */
  static ByteBuffer encode(
      Layout layout,
      Ext4Options options,
      @Nullable Journal journal,
      long freeBlocks,
      long freeInodes,
      int group) {
    ByteBuffer out = Ext4Format.littleEndian(new byte[Ext4Format.SUPERBLOCK_SIZE]);
    out.putInt(0x0, (int) layout.inodes());
    out.putInt(0x4, (int) layout.blocks());
    out.putInt(0xC, (int) freeBlocks);
    out.putInt(0x10, (int) freeInodes);
    out.putInt(0x18, LOG_BLOCK_SIZE);
    out.putInt(0x1C, LOG_BLOCK_SIZE);
    out.putInt(0x20, Ext4Format.BLOCKS_PER_GROUP);
    out.putInt(0x24, Ext4Format.BLOCKS_PER_GROUP);
    out.putInt(0x28, layout.inodesPerGroup());
    out.putShort(0x36, (short) -1);
    out.putShort(0x38, (short) MAGIC);
    out.putShort(0x3A, (short) CLEAN);
    out.putShort(0x3C, (short) CONTINUE_ON_ERRORS);
    out.putInt(0x4C, DYNAMIC_REVISION);
    out.putInt(0x54, Ext4Format.FIRST_INODE);
    out.putShort(0x58, (short) Ext4Format.INODE_SIZE);
    out.putShort(0x5A, (short) group);
    out.putInt(0x5C, COMPATIBLE | (journal == null ? 0 : HAS_JOURNAL));
    out.putInt(0x60, INCOMPATIBLE);
    out.putInt(0x64, READ_ONLY_COMPATIBLE | (options.scratch() ? DESCRIPTOR_CHECKSUMS : 0));
    out.put(0x68, uuidBytes(options));
    out.put(0x78, options.label().getBytes(StandardCharsets.UTF_8));
    out.put(0xEC, uuidBytes(options));
    if (journal != null) {
      journal.putInSuperblock(out);
    }
    out.put(0xFC, (byte) DirectoryHash.VERSION);
    out.putInt(0x100, MOUNT_OPTIONS);
    out.putShort(0x15C, (short) Ext4Format.EXTRA_INODE_SIZE);
    out.putShort(0x15E, (short) Ext4Format.EXTRA_INODE_SIZE);
    out.putInt(0x160, DirectoryHash.UNSIGNED_FLAG);
    out.put(0x174, (byte) LOG_GROUPS_PER_FLEX);
    return out;
  }

  /**
   * What a reader needs of the superblock of an image.
   *
   * @param usedInodes the reserved ones included; they are the first ones
   */
  record Geometry(Layout layout, int usedInodes) {}

  /**
   * Understands what {@link #encode} wrote for an image, and nothing else.
   *
   * @throws Ext4ImageException when it is something else
   */
  static Geometry decode(ByteBuffer in) throws Ext4ImageException {
    long blocks = Integer.toUnsignedLong(in.getInt(0x4));
    int inodesPerGroup = in.getInt(0x28);
    long groups = Ext4Format.ceilDiv(blocks, Ext4Format.BLOCKS_PER_GROUP);
    long used = in.getInt(0x0) - (long) in.getInt(0x10);
    if (in.getShort(0x38) != (short) MAGIC
        || in.getInt(0x18) != LOG_BLOCK_SIZE
        || in.getShort(0x58) != Ext4Format.INODE_SIZE
        || in.getInt(0x5C) != COMPATIBLE
        || in.getInt(0x60) != INCOMPATIBLE
        || in.getInt(0x64) != READ_ONLY_COMPATIBLE
        || inodesPerGroup <= 0
        || inodesPerGroup > Ext4Format.MAX_INODES_PER_GROUP
        || used < 0
        || used > groups * inodesPerGroup
        || used > blocks * Ext4Format.INODES_PER_BLOCK
        || used > Integer.MAX_VALUE - Ext4Format.FIRST_INODE) {
      throw new Ext4ImageException("this is no image of this writer's");
    }
    return new Geometry(new Layout(blocks, (int) groups, inodesPerGroup), (int) used);
  }

  /** Of {@code s_uuid}, which is also the seed of the directory hashes. */
  static byte[] uuidBytes(Ext4Options options) {
    return ByteBuffer.allocate(16)
        .putLong(options.uuid().getMostSignificantBits())
        .putLong(options.uuid().getLeastSignificantBits())
        .array();
  }
}
