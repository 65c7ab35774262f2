// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What {@link InodeEncoder} wrote, field by field; offsets are those of inodes.rst. */
final class InodeDecoder {
  private static final int TYPE_MASK = 0xF000;

  private final ByteBuffer raw;

  /**
   * @param raw the 256 bytes of an inode
   */
  InodeDecoder(ByteBuffer raw) {
    this.raw = raw;
  }

  int typeBits() {
    return raw.getShort(0x0) & TYPE_MASK;
  }

  long size() throws Ext4ImageException {
    long size = (long) raw.getInt(0x6C) << 32 | Integer.toUnsignedLong(raw.getInt(0x4));
    if (size < 0 || size > Ext4Format.MAX_FILE_SIZE) {
      throw new Ext4ImageException("an inode has the size " + size);
    }
    return size;
  }

  /** The 60 bytes of {@code i_block}. */
  ByteBuffer blockField() {
    return raw.slice(0x28, ExtentTree.ROOT_SIZE).order(raw.order());
  }

  /** {@code i_file_acl}, 0 for none. */
  long attributeBlock() {
    return Integer.toUnsignedLong(raw.getInt(0x68));
  }

  /**
   * All but type and content.
   *
   * @param known where to find extended attributes that are equal, and to put others
   */
  InodeAttributes attributes(
      @Nullable ByteBuffer attributeBlock, Map<ExtendedAttributes, ExtendedAttributes> known)
      throws Ext4ImageException {
    ExtendedAttributes extended =
        ExtendedAttributes.read(
            raw.slice(
                    Ext4Format.CLASSIC_INODE_SIZE + Ext4Format.EXTRA_INODE_SIZE,
                    ExtendedAttributes.INODE_AREA)
                .order(raw.order()),
            attributeBlock);
    int extraTime = raw.getInt(0x88);
    long seconds = raw.getInt(0x10) + ((extraTime & 3L) << 32);
    return new InodeAttributes(
        raw.getShort(0x0) & 07777,
        uint16(0x2) | (uint16(0x78) << 16),
        uint16(0x18) | (uint16(0x7A) << 16),
        Instant.ofEpochSecond(seconds, extraTime >>> 2),
        known.computeIfAbsent(extended, same -> same));
  }

  private long uint16(int offset) {
    return Short.toUnsignedLong(raw.getShort(offset));
  }

  SpecialFile specialFile(InodeAttributes attributes) throws Ext4ImageException {
    for (SpecialFile.Type type : SpecialFile.Type.values()) {
      if (type.typeBits() == typeBits()) {
        // As InodeEncoder.putDevice has it.
        int old = raw.getInt(0x28);
        int device = raw.getInt(0x2C);
        return old != 0 || device == 0
            ? new SpecialFile(attributes, type, (old >>> 8) & 0xFF, old & 0xFF)
            : new SpecialFile(
                attributes,
                type,
                (device >>> 8) & 0xFFF,
                (device & 0xFF) | ((device >>> 12) & 0xFFF00));
      }
    }
    throw new Ext4ImageException("an inode has an unknown type");
  }
}
