// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCKS_PER_GROUP;
import static dev.nacelle.image.ext4.Ext4Format.ceilDiv;

/**
 * The size of the filesystem and how it divides into groups (blockgroup.rst).
 *
 * @param blocks of the whole filesystem
 * @param groups of which each has two bitmaps and a part of the inode table
 * @param inodesPerGroup a multiple of the 16 that fill a block
 */
record Layout(long blocks, int groups, int inodesPerGroup) {
  /**
   * The smallest layout; for a scratch disk the one of its size.
   *
   * @param contentEnd the first block that no content uses
   * @param inodes that are in use, the reserved ones included
   */
  static Layout plan(long contentEnd, long inodes, Ext4Options options) throws Ext4LimitException {
    long wantedInodes = Math.max(inodes, options.minimumInodes());
    long blocks =
        options.scratch()
            ? usableBlocks(options.minimumBytes() / Ext4Format.BLOCK_SIZE)
            : Math.max(contentEnd, Ext4Format.blocksFor(options.minimumBytes()));
    while (blocks <= Ext4Format.MAX_BLOCKS) {
      long groups =
          Math.max(
              ceilDiv(blocks, BLOCKS_PER_GROUP),
              ceilDiv(wantedInodes, Ext4Format.MAX_INODES_PER_GROUP));
      int tableBlocks = (int) ceilDiv(ceilDiv(wantedInodes, groups), Ext4Format.INODES_PER_BLOCK);
      long needed = neededBlocks(contentEnd, groups, tableBlocks);
      if (needed <= blocks) {
        return new Layout(blocks, (int) groups, tableBlocks * Ext4Format.INODES_PER_BLOCK);
      }
      if (options.scratch()) {
        throw new Ext4LimitException(
            "a disk of "
                + options.minimumBytes()
                + " bytes is too small for its filesystem, which needs at least "
                + needed * Ext4Format.BLOCK_SIZE);
      }
      blocks = needed;
    }
    throw new Ext4LimitException("the filesystem would be larger than 16 TiB");
  }

  /** Without a last group that could not even hold what {@link #neededBlocks} wants there. */
  private static long usableBlocks(long blocks) {
    long inLastGroup = blocks % BLOCKS_PER_GROUP;
    int descriptorBlocks = descriptorBlocks(ceilDiv(blocks, BLOCKS_PER_GROUP));
    return inLastGroup < 2 + descriptorBlocks ? blocks - inLastGroup : blocks;
  }

  private static long neededBlocks(long contentEnd, long groups, int tableBlocks) {
    int descriptorBlocks = descriptorBlocks(groups);
    // A table is in one piece, so as much as another table may stay unused before each copy.
    long perCopy = 1L + descriptorBlocks + tableBlocks;
    long copies = 0;
    for (long group = ceilDiv(contentEnd, BLOCKS_PER_GROUP); group < groups; group++) {
      copies += Ext4Format.hasSuperblock(group) ? 1 : 0;
    }
    long metadata = contentEnd + groups * (2 + tableBlocks) + copies * perCopy;
    // The last group must have room for its copy and for one block besides.
    return Math.max(metadata, (groups - 1) * BLOCKS_PER_GROUP + 2 + descriptorBlocks);
  }

  private static int descriptorBlocks(long groups) {
    return (int) ceilDiv(groups, Ext4Format.DESCRIPTORS_PER_BLOCK);
  }

  int descriptorBlocks() {
    return descriptorBlocks(groups);
  }

  /** Blocks of a group that a copy of the superblock and of the descriptors takes. */
  int superblockCopyBlocks(int group) {
    return Ext4Format.hasSuperblock(group) ? 1 + descriptorBlocks() : 0;
  }

  int tableBlocks() {
    return inodesPerGroup / Ext4Format.INODES_PER_BLOCK;
  }

  long inodes() {
    return (long) groups * inodesPerGroup;
  }

  int blocksIn(int group) {
    return (int) Math.min(BLOCKS_PER_GROUP, blocks - (long) group * BLOCKS_PER_GROUP);
  }

  /** The group of an inode number. */
  int groupOf(int inode) {
    return (inode - 1) / inodesPerGroup;
  }
}
