// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

/**
 * Where in an image its tree is found as it was at an earlier time, for another image to
 * {@linkplain Ext4Writer#extend(java.nio.file.Path, Checkpoint, java.nio.file.Path, Ext4Options)
 * start from}.
 *
 * @param tableBlock the first block of a table of inodes, unsigned in 32 bits
 * @param inodes how many there are, the reserved ones included
 */
public record Checkpoint(long tableBlock, int inodes) {
  /** Checks what no image could hold. */
  public Checkpoint {
    if (tableBlock < 0 || tableBlock >= Ext4Format.MAX_BLOCKS) {
      throw new IllegalArgumentException("not a block of an image: " + tableBlock);
    }
    if (inodes < Ext4Format.FIRST_INODE - 1) {
      throw new IllegalArgumentException("not a number of inodes: " + inodes);
    }
  }
}
