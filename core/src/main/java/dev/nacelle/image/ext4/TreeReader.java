// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCK_SIZE;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads back the tree of a finished image, so that a writer can go on from it. It knows the
 * features that the writer uses and no others, and believes nothing that would lead out of the
 * image.
 */
final class TreeReader {
  private final FileChannel channel;

  /** How many blocks the image has. */
  private final long end;

  /** The first block of each inode table, and how many inodes each holds. */
  private final long[] tables;

  private final int inodesPerTable;

  /** By number, those that were met. */
  private final @Nullable Inode[] inodes;

  private long decoded;
  private long directories;

  /**
   * What Hyper-V puts behind an image to have it as a disk. Less than a block, and no part of it.
   */
  private static final int VHD_FOOTER = 512;

  /** Files that have attributes mostly have those of others. */
  private final Map<ExtendedAttributes, ExtendedAttributes> knownAttributes = new HashMap<>();

  private final Deque<Found> pending = new ArrayDeque<>();
  private final List<Run> content = new ArrayList<>();

  /** The block of an inode table that was read last: directories list their files in its order. */
  private long tableBlock = -1;

  private ByteBuffer table = Ext4Format.newBlock();

  /** A directory whose entries are still to be read. */
  private static final class Found {
    private final Directory directory;
    private final int[] extents;

    Found(Directory directory, int[] extents) {
      this.directory = directory;
      this.extents = extents;
    }
  }

  /**
   * What was read.
   *
   * @param content blocks of files and symbolic links, in rising order, neighbours joined
   */
  record Tree(Directory root, List<Run> content, long inodes, long directories) {}

  /** Of the tree that the superblock and the group descriptors lead to. */
  private TreeReader(FileChannel channel) throws IOException {
    this.channel = channel;
    Superblock.Geometry geometry = readGeometry(channel);
    this.end = geometry.layout().blocks();
    this.tables = new long[geometry.layout().groups()];
    this.inodesPerTable = geometry.layout().inodesPerGroup();
    ByteBuffer descriptors = read(channel, BLOCK_SIZE, tables.length * Ext4Format.DESCRIPTOR_SIZE);
    for (int group = 0; group < tables.length; group++) {
      // bg_inode_table_lo
      tables[group] =
          Integer.toUnsignedLong(descriptors.getInt(group * Ext4Format.DESCRIPTOR_SIZE + 8));
    }
    this.inodes = new @Nullable Inode[geometry.usedInodes() + Ext4Format.FIRST_INODE];
  }

  /**
   * Of an image that is all there, with or without the footer that makes it a virtual disk.
   *
   * @throws Ext4ImageException when it is not, or none of the writer's
   */
  static Superblock.Geometry readGeometry(FileChannel channel) throws IOException {
    Superblock.Geometry geometry =
        Superblock.decode(read(channel, Ext4Format.SUPERBLOCK_OFFSET, Ext4Format.SUPERBLOCK_SIZE));
    long bytes = geometry.layout().blocks() * BLOCK_SIZE;
    if (channel.size() != bytes && channel.size() != bytes + VHD_FOOTER) {
      throw new Ext4ImageException(
          "the image has " + channel.size() + " bytes, its superblock says " + bytes);
    }
    return geometry;
  }

  /** Of the tree of a checkpoint. */
  private TreeReader(FileChannel channel, Checkpoint checkpoint) throws IOException {
    this.channel = channel;
    this.end = channel.size() / BLOCK_SIZE;
    this.tables = new long[] {checkpoint.tableBlock()};
    this.inodesPerTable = checkpoint.inodes();
    if (checkpoint.tableBlock() + checkpoint.inodes() / Ext4Format.INODES_PER_BLOCK > end) {
      throw new Ext4ImageException("the image has no such checkpoint");
    }
    this.inodes = new @Nullable Inode[checkpoint.inodes() + 1];
  }

  /**
   * Reads an image.
   *
   * @throws Ext4ImageException when it is none of the writer's
   */
  static Tree read(FileChannel channel) throws IOException {
    return guarded(() -> new TreeReader(channel).readTree());
  }

  /** Reads what an image held at a checkpoint; likewise. */
  static Tree read(FileChannel channel, Checkpoint checkpoint) throws IOException {
    return guarded(() -> new TreeReader(channel, checkpoint).readTree());
  }

  /** Reads a tree. */
  @FunctionalInterface
  private interface Reading {
    Tree run() throws IOException;
  }

  private static Tree guarded(Reading reading) throws IOException {
    try {
      return reading.run();
    } catch (IllegalArgumentException | IndexOutOfBoundsException | BufferUnderflowException e) {
      throw new Ext4ImageException("the image is damaged: " + e);
    }
  }

  private Tree readTree() throws IOException {
    Inode root = inode(null, Ext4Format.ROOT_INODE);
    while (!pending.isEmpty()) {
      Found found = pending.remove();
      for (int i = 0; i < found.extents.length; i += 3) {
        for (int j = 0; j < found.extents[i + 1]; j++) {
          readEntries(found.directory, block(Integer.toUnsignedLong(found.extents[i + 2]) + j));
        }
      }
    }
    if (!(root instanceof Directory directory)) {
      throw new Ext4ImageException("the root of the image is no directory");
    }
    directory.links = 1;
    return new Tree(directory, joined(content), decoded, directories);
  }

  /** Blocks of an index look as if they held one unused entry. */
  private void readEntries(Directory directory, ByteBuffer block) throws IOException {
    for (int at = 0; at < BLOCK_SIZE; ) {
      int number = block.getInt(at);
      int size = Short.toUnsignedInt(block.getShort(at + 4));
      byte[] name = new byte[Byte.toUnsignedInt(block.get(at + 6))];
      if (size < 8 + name.length || at + size > BLOCK_SIZE) {
        throw new Ext4ImageException("an entry of a directory has a wrong size");
      }
      block.get(at + 8, name);
      at += size;
      boolean dots = name.length > 0 && name[0] == '.' && name[name.length - 1] == '.';
      if (number != 0 && !(dots && name.length <= 2)) {
        Inode inode = inode(directory, number);
        directory.put(FileName.of(name), inode);
        inode.links++;
      }
    }
  }

  private Inode inode(@Nullable Directory parent, int number) throws IOException {
    @Nullable Inode there = inodes[number];
    if (there == null) {
      Inode decoded = decode(parent, rawInode(number));
      inodes[number] = decoded;
      this.decoded++;
      return decoded;
    }
    if (there instanceof Directory) {
      throw new Ext4ImageException("a directory is in two places");
    }
    return there;
  }

  private ByteBuffer rawInode(int number) throws IOException {
    int index = (number - 1) % inodesPerTable;
    long block = tables[(number - 1) / inodesPerTable] + index / Ext4Format.INODES_PER_BLOCK;
    if (block != tableBlock) {
      table = block(block);
      tableBlock = block;
    }
    int offset = index % Ext4Format.INODES_PER_BLOCK * Ext4Format.INODE_SIZE;
    return table.slice(offset, Ext4Format.INODE_SIZE).order(table.order());
  }

  private Inode decode(@Nullable Directory parent, ByteBuffer raw) throws IOException {
    InodeDecoder inode = new InodeDecoder(raw);
    long attributeBlock = inode.attributeBlock();
    InodeAttributes attributes =
        inode.attributes(attributeBlock == 0 ? null : block(attributeBlock), knownAttributes);
    switch (inode.typeBits()) {
      case Ext4Format.S_IFDIR -> {
        directories++;
        Directory directory = new Directory(parent, attributes);
        pending.add(new Found(directory, extents(inode)));
        return directory;
      }
      case Ext4Format.S_IFREG -> {
        return new RegularFile(attributes, inode.size(), contentExtents(inode));
      }
      case Ext4Format.S_IFLNK -> {
        SymbolicLink link = new SymbolicLink(attributes, target(inode));
        if (!link.isInline()) {
          link.extents = contentExtents(inode);
        }
        return link;
      }
      default -> {
        return inode.specialFile(attributes);
      }
    }
  }

  private byte[] target(InodeDecoder inode) throws IOException {
    if (inode.size() == 0 || inode.size() > SymbolicLink.MAX_TARGET_BYTES) {
      throw new Ext4ImageException("a symbolic link has " + inode.size() + " bytes");
    }
    byte[] target = new byte[(int) inode.size()];
    if (target.length <= SymbolicLink.MAX_INLINE_BYTES) {
      inode.blockField().get(target);
    } else {
      // No extents are damage as any other: beyond the array.
      block(Integer.toUnsignedLong(extents(inode)[2])).get(target);
    }
    return target;
  }

  private int[] contentExtents(InodeDecoder inode) throws IOException {
    int[] extents = extents(inode);
    for (int i = 0; i < extents.length; i += 3) {
      content.add(
          new Run(Integer.toUnsignedLong(extents[i + 2]), Integer.toUnsignedLong(extents[i + 1])));
    }
    return extents;
  }

  private int[] extents(InodeDecoder inode) throws IOException {
    return ExtentTree.read(inode.blockField(), end, this::block);
  }

  private static List<Run> joined(List<Run> runs) {
    runs.sort(Comparator.comparingLong(Run::start));
    List<Run> joined = new ArrayList<>();
    for (Run run : runs) {
      int last = joined.size() - 1;
      if (last >= 0 && joined.get(last).end() == run.start()) {
        Run before = joined.get(last);
        joined.set(last, new Run(before.start(), before.length() + run.length()));
      } else {
        joined.add(run);
      }
    }
    return joined;
  }

  private ByteBuffer block(long number) throws IOException {
    return read(channel, number * BLOCK_SIZE, BLOCK_SIZE);
  }

  private static ByteBuffer read(FileChannel channel, long position, int length)
      throws IOException {
    ByteBuffer bytes = Ext4Format.littleEndian(new byte[length]);
    while (bytes.hasRemaining()) {
      if (channel.read(bytes, position + bytes.position()) < 0) {
        throw new Ext4ImageException("the image ends early");
      }
    }
    return bytes.rewind();
  }
}
