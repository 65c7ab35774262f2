// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

/** A regular file, whose content is already in the image. */
public final class RegularFile extends Inode {
  private final long size;

  RegularFile(InodeAttributes attributes, long size, int[] extents) {
    super(attributes);
    this.size = size;
    this.extents = extents;
  }

  /** In bytes, holes included. */
  @Override
  public long size() {
    return size;
  }

  @Override
  int typeBits() {
    return Ext4Format.S_IFREG;
  }

  @Override
  int directoryEntryType() {
    return 1;
  }
}
