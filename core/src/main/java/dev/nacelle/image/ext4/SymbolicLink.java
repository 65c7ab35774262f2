// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

/** A symbolic link. */
public final class SymbolicLink extends Inode {
  /** The kernel wants room for a NUL in the one block that holds the target. */
  public static final int MAX_TARGET_BYTES = Ext4Format.BLOCK_SIZE - 1;

  /** Targets that end before the 60 bytes of {@code i_block} do live there (ifork.rst). */
  static final int MAX_INLINE_BYTES = 59;

  private final byte[] target;

  SymbolicLink(InodeAttributes attributes, byte[] target) {
    super(attributes);
    this.target = target;
  }

  /** A copy of the bytes of the target. */
  public byte[] target() {
    return target.clone();
  }

  boolean isInline() {
    return target.length <= MAX_INLINE_BYTES;
  }

  @Override
  int typeBits() {
    return Ext4Format.S_IFLNK;
  }

  @Override
  int directoryEntryType() {
    return 7;
  }

  @Override
  long size() {
    return target.length;
  }
}
