// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCK_SIZE;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Extents on disk ("Extent Tree" of ifork.rst): 4 in the inode, else a tree of blocks of 340. */
final class ExtentTree {
  private static final int MAGIC = 0xF30A;
  private static final int HEADER = 12;
  private static final int ENTRY = 12;

  /** Longer ones would be "uninitialised". */
  private static final long MAX_EXTENT_BLOCKS = 32768;

  /** 5 levels hold 2^32 blocks (ifork.rst). */
  private static final int MAX_DEPTH = 5;

  /** Bytes of {@code i_block}. */
  static final int ROOT_SIZE = 60;

  private static final int ROOT_ENTRIES = (ROOT_SIZE - HEADER) / ENTRY;
  private static final int BLOCK_ENTRIES = (BLOCK_SIZE - HEADER) / ENTRY;

  /** Of a leaf, blocks of the file; of an index, {@code length} is unused. */
  private record Entry(long logicalBlock, long length, long physicalBlock) {}

  private ExtentTree() {}

  private static List<Entry> leafEntries(int[] extents) {
    List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < extents.length; i += 3) {
      long logical = Integer.toUnsignedLong(extents[i]);
      long left = Integer.toUnsignedLong(extents[i + 1]);
      long physical = Integer.toUnsignedLong(extents[i + 2]);
      while (left > 0) {
        long length = Math.min(left, MAX_EXTENT_BLOCKS);
        entries.add(new Entry(logical, length, physical));
        logical += length;
        physical += length;
        left -= length;
      }
    }
    return entries;
  }

  /** The inode's part, for an inode whose tree is that alone or was written. */
  static byte[] root(Inode inode) {
    byte[] root = inode.extentRoot;
    return root != null ? root : node(leafEntries(inode.extents), 0, ROOT_SIZE).array();
  }

  /** Writes the blocks of the tree where it does not fit in the inode. */
  static void writeBlocks(Inode inode, BlockAllocator allocator, ImageFile file)
      throws IOException {
    List<Entry> level = leafEntries(inode.extents);
    int depth = 0;
    while (level.size() > ROOT_ENTRIES) {
      List<Entry> parents = new ArrayList<>();
      for (int i = 0; i < level.size(); i += BLOCK_ENTRIES) {
        List<Entry> part = level.subList(i, Math.min(level.size(), i + BLOCK_ENTRIES));
        long block = allocator.allocate(1).start();
        file.seekBlock(block);
        file.write(node(part, depth, BLOCK_SIZE));
        parents.add(new Entry(part.get(0).logicalBlock, 0, block));
      }
      inode.extentTreeBlocks += parents.size();
      level = parents;
      depth++;
    }
    if (depth > 0) {
      inode.extentRoot = node(level, depth, ROOT_SIZE).array();
    }
  }

  /** Blocks of an image by number. */
  @FunctionalInterface
  interface Blocks {
    ByteBuffer read(long number) throws IOException;
  }

  /**
   * Reads a tree back, as {@link Inode#extents} has it.
   *
   * @param root the inode's part
   * @param end the first block that is not in the image
   * @throws Ext4ImageException when it is damaged
   */
  static int[] read(ByteBuffer root, long end, Blocks blocks) throws IOException {
    List<Entry> entries = new ArrayList<>();
    collect(root, MAX_DEPTH, end, blocks, entries);
    int[] extents = new int[3 * entries.size()];
    for (int i = 0; i < entries.size(); i++) {
      extents[3 * i] = (int) entries.get(i).logicalBlock;
      extents[3 * i + 1] = (int) entries.get(i).length;
      extents[3 * i + 2] = (int) entries.get(i).physicalBlock;
    }
    return extents;
  }

  private static void collect(
      ByteBuffer node, int maxDepth, long end, Blocks blocks, List<Entry> entries)
      throws IOException {
    int count = Short.toUnsignedInt(node.getShort(2));
    int depth = node.getShort(6);
    // An empty block is one that no writer makes, and many of them could take for ever.
    if (node.getShort(0) != (short) MAGIC
        || depth < 0
        || depth > maxDepth
        || (count == 0 && node.limit() == BLOCK_SIZE)) {
      throw new Ext4ImageException("a node of an extent tree is none");
    }
    for (int at = HEADER; at < HEADER + count * ENTRY; at += ENTRY) {
      if (depth > 0) {
        long child = Integer.toUnsignedLong(node.getInt(at + 4));
        collect(blocks.read(child), depth - 1, end, blocks, entries);
        continue;
      }
      long logical = Integer.toUnsignedLong(node.getInt(at));
      long length = Short.toUnsignedLong(node.getShort(at + 4));
      long physical = Integer.toUnsignedLong(node.getInt(at + 8));
      @Nullable Entry last = entries.isEmpty() ? null : entries.get(entries.size() - 1);
      if (length == 0
          || length > MAX_EXTENT_BLOCKS
          || physical + length > end
          || (last != null && logical < last.logicalBlock + last.length)) {
        throw new Ext4ImageException("an extent is not within the image, or out of order");
      }
      if (last != null
          && logical == last.logicalBlock + last.length
          && physical == last.physicalBlock + last.length) {
        entries.remove(entries.size() - 1);
        entries.add(new Entry(last.logicalBlock, last.length + length, last.physicalBlock));
      } else {
        entries.add(new Entry(logical, length, physical));
      }
    }
  }

  private static ByteBuffer node(List<Entry> entries, int depth, int size) {
    ByteBuffer node = Ext4Format.littleEndian(new byte[size]);
    node.putShort((short) MAGIC).putShort((short) entries.size());
    node.putShort((short) ((size - HEADER) / ENTRY)).putShort((short) depth).putInt(0);
    for (Entry entry : entries) {
      node.putInt((int) entry.logicalBlock);
      if (depth == 0) {
        // The high 16 bits of the block number come first here, and last in an index.
        node.putShort((short) entry.length).putShort((short) 0).putInt((int) entry.physicalBlock);
      } else {
        node.putInt((int) entry.physicalBlock).putInt(0);
      }
    }
    return node.rewind();
  }
}
