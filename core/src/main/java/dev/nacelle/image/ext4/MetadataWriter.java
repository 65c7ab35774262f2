// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCKS_PER_GROUP;
import static dev.nacelle.image.ext4.Ext4Format.BLOCK_SIZE;
import static dev.nacelle.image.ext4.Ext4Format.INODES_PER_BLOCK;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Everything that can be written only when the tree is complete: directories, attribute blocks and
 * extent trees, then the layout, inode tables, bitmaps, descriptors, and the superblock last.
 */
final class MetadataWriter {
  /** EXT4_XATTR_REFCOUNT_MAX (fs/ext4/xattr.h). */
  private static final int MAX_ATTRIBUTE_BLOCK_REFERENCES = 1024;

  private final Ext4Options options;
  private final BlockAllocator allocator;
  private final ImageFile file;

  /** In the order of their numbers: the root, then those from 11 on. */
  private final List<Inode> inodes = new ArrayList<>();

  private @Nullable Journal journal;

  MetadataWriter(Ext4Options options, BlockAllocator allocator, ImageFile file) {
    this.options = options;
    this.allocator = allocator;
    this.file = file;
  }

  /** Writes all of it. */
  void write(Directory root) throws IOException {
    int lastInode = writeTree(root);
    if (options.journal()) {
      journal = Journal.write(options, allocator, file);
    }
    Layout layout = Layout.plan(allocator.next(), lastInode, options);
    allocator.settle(layout.descriptorBlocks());
    long[] tables = new long[layout.groups()];
    for (int group = 0; group < layout.groups(); group++) {
      tables[group] = allocator.allocateClean(layout.tableBlocks()).start();
    }
    long[] bitmaps = allocateEach(2 * layout.groups());
    writeTables(layout.inodesPerGroup(), tables);
    if (journal != null) {
      writeInode(journal.inode(), layout.inodesPerGroup(), tables);
    }
    writeGroups(layout, tables, bitmaps);
    file.finish(layout.blocks() * BLOCK_SIZE);
  }

  /**
   * Writes the tree with one table of inodes, for {@link TreeReader}; the tree forgets it again.
   */
  Checkpoint writeCheckpoint(Directory root) throws IOException {
    int lastInode = writeTree(root);
    long table = allocator.allocateClean(Ext4Format.ceilDiv(lastInode, INODES_PER_BLOCK)).start();
    writeTables(lastInode, new long[] {table});
    inodes.forEach(Inode::forgetPlaces);
    return new Checkpoint(table, lastInode);
  }

  /** Returns the last inode's number. */
  private int writeTree(Directory root) throws IOException {
    number(root);
    DirectoryHash hash = new DirectoryHash(Superblock.uuidBytes(options));
    DirectoryWriter directories = new DirectoryWriter(hash, allocator, file);
    for (Inode inode : inodes) {
      if (inode instanceof Directory directory) {
        directories.write(directory);
      }
      ExtentTree.writeBlocks(inode, allocator, file);
    }
    writeAttributeBlocks();
    return Math.max(inodes.get(inodes.size() - 1).number, Ext4Format.FIRST_INODE - 1);
  }

  /** Breadth first and by name: the inodes of a directory's files are next to each other. */
  private void number(Directory root) {
    root.number = Ext4Format.ROOT_INODE;
    inodes.add(root);
    int next = Ext4Format.FIRST_INODE;
    for (int i = 0; i < inodes.size(); i++) {
      if (!(inodes.get(i) instanceof Directory directory)) {
        continue;
      }
      List<Map.Entry<FileName, Inode>> entries = new ArrayList<>(directory.entries().entrySet());
      entries.sort(Map.Entry.comparingByKey());
      for (Map.Entry<FileName, Inode> entry : entries) {
        Inode inode = entry.getValue();
        if (inode.number == 0) {
          inode.number = next++;
          inodes.add(inode);
        }
      }
    }
  }

  private void writeAttributeBlocks() throws IOException {
    Map<ExtendedAttributes, int[]> shared = new HashMap<>();
    for (Inode inode : inodes) {
      ExtendedAttributes attributes = inode.attributes().extended();
      if (attributes.needBlock()) {
        // { block, references }
        int[] use = shared.computeIfAbsent(attributes, a -> new int[2]);
        if (use[1] % MAX_ATTRIBUTE_BLOCK_REFERENCES == 0) {
          if (use[1] > 0) {
            writeAttributeBlock(attributes, use[0], MAX_ATTRIBUTE_BLOCK_REFERENCES);
          }
          use[0] = (int) allocator.allocate(1).start();
          use[1] = 0;
        }
        use[1]++;
        inode.attributeBlock = use[0];
      }
    }
    List<Map.Entry<ExtendedAttributes, int[]>> last = new ArrayList<>(shared.entrySet());
    last.sort(Comparator.comparingLong(entry -> Integer.toUnsignedLong(entry.getValue()[0])));
    for (Map.Entry<ExtendedAttributes, int[]> entry : last) {
      writeAttributeBlock(entry.getKey(), entry.getValue()[0], entry.getValue()[1]);
    }
  }

  private void writeAttributeBlock(ExtendedAttributes attributes, int block, int references)
      throws IOException {
    file.seekBlock(Integer.toUnsignedLong(block));
    file.write(attributes.toBlock(references));
  }

  private long[] allocateEach(int count) throws IOException {
    long[] blocks = new long[count];
    for (int i = 0; i < count; ) {
      Run run = allocator.allocate(count - i);
      for (long block = run.start(); block < run.end(); block++) {
        blocks[i++] = block;
      }
    }
    return blocks;
  }

  private void writeTables(int inodesPerTable, long[] tables) throws IOException {
    for (Inode inode : inodes) {
      writeInode(inode, inodesPerTable, tables);
    }
  }

  private void writeInode(Inode inode, int inodesPerTable, long[] tables) throws IOException {
    ByteBuffer out = Ext4Format.littleEndian(new byte[Ext4Format.INODE_SIZE]);
    InodeEncoder.encode(inode, out);
    int index = inode.number - 1;
    file.seek(
        tables[index / inodesPerTable] * BLOCK_SIZE
            + (long) (index % inodesPerTable) * Ext4Format.INODE_SIZE);
    file.write(out.rewind());
  }

  private void writeGroups(Layout layout, long[] tables, long[] bitmaps) throws IOException {
    int[] usedInodes = new int[layout.groups()];
    int[] directories = new int[layout.groups()];
    for (int number = 1; number < Ext4Format.FIRST_INODE; number++) {
      usedInodes[layout.groupOf(number)]++;
    }
    for (Inode inode : inodes) {
      int group = layout.groupOf(inode.number);
      usedInodes[group] += inode.number >= Ext4Format.FIRST_INODE ? 1 : 0;
      directories[group] += inode instanceof Directory ? 1 : 0;
    }
    ByteBuffer descriptors =
        Ext4Format.littleEndian(new byte[layout.descriptorBlocks() * BLOCK_SIZE]);
    long freeBlocks = 0;
    for (int group = 0; group < layout.groups(); group++) {
      int flags = 0;
      int free;
      boolean inner = group > 0 && group < layout.groups() - 1;
      if (options.scratch() && inner && allocator.isUntouched(group)) {
        flags |= GroupDescriptor.BLOCK_BITMAP_UNINITIALISED;
        free = layout.blocksIn(group) - layout.superblockCopyBlocks(group);
      } else {
        free = writeBlockBitmap(layout, group, bitmaps[2 * group]);
      }
      if (options.scratch() && group > 0 && usedInodes[group] == 0) {
        flags |= GroupDescriptor.INODE_BITMAP_UNINITIALISED;
      } else {
        writeInodeBitmap(layout, usedInodes[group], bitmaps[2 * group + 1]);
      }
      int freeInodes = layout.inodesPerGroup() - usedInodes[group];
      GroupDescriptor descriptor =
          new GroupDescriptor(
              bitmaps[2 * group],
              bitmaps[2 * group + 1],
              tables[group],
              free,
              freeInodes,
              directories[group]);
      descriptors.put(
          options.scratch()
              ? descriptor.encode(flags, group, Superblock.uuidBytes(options))
              : descriptor.encode());
      freeBlocks += free;
    }
    long freeInodes = layout.inodes() - Arrays.stream(usedInodes).asLongStream().sum();
    for (int group = layout.groups() - 1; group >= 0; group--) {
      if (Ext4Format.hasSuperblock(group)) {
        long start = (long) group * BLOCKS_PER_GROUP * BLOCK_SIZE;
        file.seek(start + BLOCK_SIZE);
        file.write(descriptors.rewind());
        file.seek(start + (group == 0 ? Ext4Format.SUPERBLOCK_OFFSET : 0));
        file.write(Superblock.encode(layout, options, journal, freeBlocks, freeInodes, group));
      }
    }
  }

  /** Returns how many blocks are free. */
  private int writeBlockBitmap(Layout layout, int group, long block) throws IOException {
    int blocks = layout.blocksIn(group);
    BitSet used = allocator.usedBlocks(group);
    int free = blocks - used.cardinality();
    used.set(blocks, BLOCKS_PER_GROUP);
    writeBitmap(block, used);
    return free;
  }

  /** Numbers are handed out without gaps, so the used inodes of a group are its first ones. */
  private void writeInodeBitmap(Layout layout, int used, long block) throws IOException {
    BitSet bitmap = new BitSet();
    bitmap.set(0, used);
    bitmap.set(layout.inodesPerGroup(), BLOCKS_PER_GROUP);
    writeBitmap(block, bitmap);
  }

  private void writeBitmap(long block, BitSet bits) throws IOException {
    file.seekBlock(block);
    file.write(ByteBuffer.wrap(Arrays.copyOf(bits.toByteArray(), BLOCK_SIZE)));
  }
}
