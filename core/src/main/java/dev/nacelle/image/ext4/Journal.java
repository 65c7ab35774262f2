// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCK_SIZE;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Instant;

/** An empty journal within the filesystem (journal.rst), whose numbers are big-endian. */
final class Journal {
  // struct journal_superblock_s
  private static final int MAGIC = 0xC03B3998;
  private static final int SUPERBLOCK_V2 = 4;
  private static final int BLOCK_SIZE_AT = 0xC;
  private static final int LENGTH = 0x10;
  private static final int FIRST = 0x14;
  private static final int SEQUENCE = 0x18;
  private static final int UUID_AT = 0x30;
  private static final int USERS = 0x40;

  // struct ext4_super_block
  private static final int INODE_NUMBER = 0xE0;
  private static final int BACKUP_TYPE = 0xFD;
  private static final int BACKUP = 0x10C;
  private static final byte BACKUP_OF_BLOCKS = 1;

  private final RegularFile inode;

  private Journal(RegularFile inode) {
    this.inode = inode;
  }

  /** Writes it to blocks of its own. */
  static Journal write(Ext4Options options, BlockAllocator allocator, ImageFile file)
      throws IOException {
    int length = length(options.minimumBytes() / BLOCK_SIZE);
    Run run = allocator.allocateClean(length);
    ByteBuffer superblock = ByteBuffer.allocate(BLOCK_SIZE);
    superblock.putInt(MAGIC).putInt(SUPERBLOCK_V2);
    superblock.putInt(BLOCK_SIZE_AT, BLOCK_SIZE).putInt(LENGTH, length);
    superblock.putInt(FIRST, 1).putInt(SEQUENCE, 1);
    superblock.put(UUID_AT, Superblock.uuidBytes(options)).putInt(USERS, 1);
    file.seekBlock(run.start());
    file.write(superblock.rewind());
    RegularFile inode =
        new RegularFile(
            new InodeAttributes(0600, 0, 0, Instant.EPOCH),
            (long) length * BLOCK_SIZE,
            new int[] {0, length, (int) run.start()});
    inode.number = Ext4Format.JOURNAL_INODE;
    inode.links = 1;
    return new Journal(inode);
  }

  /** Blocks by those of the filesystem, about as mke2fs has it (ext2fs_default_journal_size). */
  private static int length(long blocks) {
    if (blocks < 32_768) {
      return 1024;
    }
    return blocks < 256 * 1024 ? 4096 : blocks < 512 * 1024 ? 8192 : 16_384;
  }

  /** The file that it is, which no directory has. */
  RegularFile inode() {
    return inode;
  }

  /** Where it is, and where its blocks are, should its inode be lost. */
  void putInSuperblock(ByteBuffer out) {
    out.putInt(INODE_NUMBER, Ext4Format.JOURNAL_INODE);
    out.put(BACKUP_TYPE, BACKUP_OF_BLOCKS);
    out.put(BACKUP, ExtentTree.root(inode));
    out.putInt(BACKUP + ExtentTree.ROOT_SIZE, (int) (inode.size() >>> 32));
    out.putInt(BACKUP + ExtentTree.ROOT_SIZE + Integer.BYTES, (int) inode.size());
  }
}
