// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;
import java.time.Instant;

/** An inode as it is in the table: {@code struct ext4_inode} of inodes.rst. */
final class InodeEncoder {
  private static final int SECTORS_PER_BLOCK = Ext4Format.BLOCK_SIZE / 512;

  /** Seconds have 32 signed bits and 2 more above them ("Inode Timestamps" of inodes.rst). */
  private static final long MIN_SECONDS = Integer.MIN_VALUE;

  private static final long MAX_SECONDS = MIN_SECONDS + (1L << 34) - 1;

  private InodeEncoder() {}

  /** Fills a zeroed buffer of 256 bytes. */
  static void encode(Inode inode, ByteBuffer out) {
    InodeAttributes attributes = inode.attributes();
    long size = inode.size();
    long seconds =
        Math.max(MIN_SECONDS, Math.min(MAX_SECONDS, attributes.modified().getEpochSecond()));
    long blocks =
        inode.extentBlocks() + inode.extentTreeBlocks + (inode.attributeBlock == 0 ? 0 : 1);
    long sectors = blocks * SECTORS_PER_BLOCK;

    out.putShort((short) (inode.typeBits() | attributes.permissions()));
    out.putShort((short) attributes.uid()).putInt((int) size);
    out.putInt((int) seconds).putInt((int) seconds).putInt((int) seconds).putInt(0);
    out.putShort((short) attributes.gid()).putShort((short) links(inode));
    out.putInt((int) sectors).putInt(flags(inode)).putInt(0);
    putBlockField(inode, out);
    out.putInt(0).putInt(inode.attributeBlock).putInt((int) (size >>> 32)).putInt(0);
    out.putShort((short) (sectors >>> 32)).putShort((short) 0);
    out.putShort((short) (attributes.uid() >>> 16)).putShort((short) (attributes.gid() >>> 16));
    out.putInt(0);

    int extraTime = extraTime(seconds, attributes.modified());
    out.putShort((short) Ext4Format.EXTRA_INODE_SIZE).putShort((short) 0);
    out.putInt(extraTime).putInt(extraTime).putInt(extraTime);
    out.putInt((int) seconds).putInt(extraTime).putInt(0).putInt(0);
    attributes.extended().putInInode(out);
  }

  private static int extraTime(long seconds, Instant time) {
    boolean clamped = seconds != time.getEpochSecond();
    int epoch = (int) ((seconds - (int) seconds) >>> 32) & 3;
    return (clamped ? 0 : time.getNano() << 2) | epoch;
  }

  private static int links(Inode inode) {
    if (inode instanceof Directory directory) {
      // "." and the parent's entry, and ".." of each subdirectory; dir_nlink: 1 for too many.
      int links = 2 + directory.subdirectories;
      return links > Ext4Format.MAX_LINKS ? 1 : links;
    }
    return inode.links;
  }

  private static int flags(Inode inode) {
    if (inode instanceof SpecialFile || (inode instanceof SymbolicLink link && link.isInline())) {
      return 0;
    }
    boolean indexed = inode instanceof Directory directory && directory.indexed;
    return Ext4Format.EXTENTS_FLAG | (indexed ? Ext4Format.INDEX_FLAG : 0);
  }

  /** The 60 bytes of {@code i_block}. */
  private static void putBlockField(Inode inode, ByteBuffer out) {
    int start = out.position();
    if (inode instanceof SpecialFile special) {
      putDevice(special, out);
    } else if (inode instanceof SymbolicLink link && link.isInline()) {
      out.put(link.target());
    } else {
      out.put(ExtentTree.root(inode));
    }
    out.position(start + ExtentTree.ROOT_SIZE);
  }

  /** Old encoding in the first word where it fits, else the new one in the second (fs/ext4). */
  private static void putDevice(SpecialFile file, ByteBuffer out) {
    int major = file.major();
    int minor = file.minor();
    if (major < 256 && minor < 256) {
      out.putInt(major << 8 | minor);
    } else {
      out.putInt(0).putInt((minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12);
    }
  }
}
