// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import org.jspecify.annotations.Nullable;

/**
 * A file of any type in an image that is being written. It belongs to the {@link Ext4Writer} that
 * made it, which alone changes it.
 */
public abstract sealed class Inode permits Directory, RegularFile, SpecialFile, SymbolicLink {
  static final int[] NO_EXTENTS = {};

  private InodeAttributes attributes;
  int links;

  /** Number in the inode table; 0 until the tree is complete. */
  int number;

  /**
   * Where the content is: triples of first file-logical block, length and first physical block, all
   * unsigned, in rising order without overlap.
   */
  int[] extents = NO_EXTENTS;

  /** The root of an extent tree that does not fit in the inode alone. */
  byte @Nullable [] extentRoot;

  /** Blocks that the extent tree takes outside the inode. */
  int extentTreeBlocks;

  /** Block with extended attributes, unsigned, or 0. */
  int attributeBlock;

  Inode(InodeAttributes attributes) {
    this.attributes = attributes;
  }

  /** Mode, owner, time and extended attributes. */
  public InodeAttributes attributes() {
    return attributes;
  }

  void setAttributes(InodeAttributes attributes) {
    this.attributes = attributes;
  }

  /** Type bits of {@code i_mode}. */
  abstract int typeBits();

  /** "file_type" of a directory entry (directory.rst). */
  abstract int directoryEntryType();

  /** {@code i_size}, in bytes. */
  abstract long size();

  /** Forgets where the tree was written, so that it can be written again. */
  void forgetPlaces() {
    number = 0;
    extentRoot = null;
    extentTreeBlocks = 0;
    attributeBlock = 0;
  }

  final long extentBlocks() {
    long blocks = 0;
    for (int i = 0; i < extents.length; i += 3) {
      blocks += Integer.toUnsignedLong(extents[i + 1]);
    }
    return blocks;
  }
}
