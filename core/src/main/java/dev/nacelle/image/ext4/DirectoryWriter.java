// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCK_SIZE;

import com.google.common.collect.Iterators;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * Writes directories (directory.rst): one block of entries in the order of their names, or, where
 * one is not enough, blocks of entries in the order of their hashes with an index in front, so that
 * looking up a name among 100,000 reads three blocks.
 */
final class DirectoryWriter {
  private static final int ENTRY_HEADER = 8;

  /** "." and "..", each with its name padded to 4 bytes. */
  private static final int DOT_ENTRY = ENTRY_HEADER + 4;

  private static final int DOT_ENTRIES = 2 * DOT_ENTRY;

  /** "file_type" of a directory. */
  private static final byte DIRECTORY = 2;

  /** {@code struct dx_root} up to its entries: the dot entries and 8 bytes of dx_root_info. */
  private static final int ROOT_HEADER = DOT_ENTRIES + 8;

  /** {@code struct dx_node} up to its entries: an unused directory entry. */
  private static final int NODE_HEADER = ENTRY_HEADER;

  /** {@code struct dx_entry}: hash and block; the first holds limit and count for a hash of 0. */
  private static final int INDEX_ENTRY = 8;

  private static final int ROOT_ENTRIES = (BLOCK_SIZE - ROOT_HEADER) / INDEX_ENTRY;
  private static final int NODE_ENTRIES = (BLOCK_SIZE - NODE_HEADER) / INDEX_ENTRY;

  private final DirectoryHash hash;
  private final BlockAllocator allocator;
  private final ImageFile file;

  private record Entry(FileName name, Inode inode, long hash) {
    int size() {
      return ENTRY_HEADER + Ext4Format.align4(name.length());
    }

    int majorHash() {
      return (int) (hash >>> 32);
    }
  }

  /** A block that an index points to, with the lowest hash that is found through it. */
  private record Child(int hash, int block) {}

  DirectoryWriter(DirectoryHash hash, BlockAllocator allocator, ImageFile file) {
    this.hash = hash;
    this.allocator = allocator;
    this.file = file;
  }

  /** Writes a directory whose entries all have their inode numbers. */
  void write(Directory directory) throws IOException {
    List<Entry> entries = new ArrayList<>(directory.entries().size());
    directory.entries().forEach((name, inode) -> entries.add(new Entry(name, inode, 0)));
    entries.sort(Comparator.comparing(Entry::name));
    List<List<Entry>> blocks = pack(entries, DOT_ENTRIES);
    if (blocks.size() > 1) {
      List<Entry> byHash = new ArrayList<>(entries);
      byHash.replaceAll(e -> new Entry(e.name, e.inode, hash.of(e.name.toBytes())));
      byHash.sort((a, b) -> Long.compareUnsigned(a.hash, b.hash));
      List<List<Entry>> leaves = pack(byHash, 0);
      // A deeper index needs the "largedir" feature of kernel 4.13; without one it still works.
      if (leaves.size() <= (long) ROOT_ENTRIES * NODE_ENTRIES) {
        writeIndexed(directory, leaves);
        return;
      }
    }
    write(
        directory,
        blocks.size(),
        i -> {
          ByteBuffer block = Ext4Format.newBlock();
          if (i == 0) {
            putDotEntries(block, directory, blocks.get(0).isEmpty() ? BLOCK_SIZE : DOT_ENTRIES);
          }
          putEntries(block, blocks.get(i));
          return block;
        });
  }

  /** Splits entries into blocks, each as full as the order allows. */
  private static List<List<Entry>> pack(List<Entry> entries, int usedInFirst) {
    List<List<Entry>> blocks = new ArrayList<>();
    int used = usedInFirst;
    int start = 0;
    for (int i = 0; i < entries.size(); i++) {
      int size = entries.get(i).size();
      if (used + size > BLOCK_SIZE) {
        blocks.add(entries.subList(start, i));
        start = i;
        used = 0;
      }
      used += size;
    }
    blocks.add(entries.subList(start, entries.size()));
    return blocks;
  }

  private void write(Directory directory, int count, IntFunction<ByteBuffer> block)
      throws IOException {
    if (count > Integer.MAX_VALUE / BLOCK_SIZE) {
      // i_size_high of directories belongs to the "largedir" feature.
      throw new Ext4LimitException(
          "a directory with " + directory.entries().size() + " entries would take over 2 GiB");
    }
    directory.blocks = count;
    Iterator<InputStream> blocks =
        IntStream.range(0, count)
            .<InputStream>mapToObj(i -> new ByteArrayInputStream(block.apply(i).array()))
            .iterator();
    directory.extents =
        ContentWriter.write(
            allocator,
            file,
            List.of(new DataRange(0, directory.size())),
            new SequenceInputStream(Iterators.asEnumeration(blocks)));
  }

  /** Blocks: the root of the index, its nodes if there are too many leaves for it, the leaves. */
  private void writeIndexed(Directory directory, List<List<Entry>> leaves) throws IOException {
    int nodes =
        leaves.size() <= ROOT_ENTRIES ? 0 : (int) Ext4Format.ceilDiv(leaves.size(), NODE_ENTRIES);
    List<Child> children = new ArrayList<>(leaves.size());
    for (int i = 0; i < leaves.size(); i++) {
      children.add(new Child(indexHash(leaves, i), 1 + nodes + i));
    }
    List<List<Child>> childrenOfNodes = new ArrayList<>(nodes);
    List<Child> childrenOfRoot = new ArrayList<>();
    for (int node = 0; node < nodes; node++) {
      int from = node * NODE_ENTRIES;
      childrenOfNodes.add(children.subList(from, Math.min(children.size(), from + NODE_ENTRIES)));
      childrenOfRoot.add(new Child(children.get(from).hash, 1 + node));
    }
    directory.indexed = true;
    write(
        directory,
        1 + nodes + leaves.size(),
        i -> {
          ByteBuffer block = Ext4Format.newBlock();
          if (i == 0) {
            putDotEntries(block, directory, BLOCK_SIZE);
            block.putInt(0).put((byte) DirectoryHash.VERSION).put((byte) 8);
            block.put((byte) (nodes == 0 ? 0 : 1)).put((byte) 0);
            putIndex(block, ROOT_ENTRIES, nodes == 0 ? children : childrenOfRoot);
          } else if (i <= nodes) {
            putEntryHeader(block, 0, BLOCK_SIZE, 0, 0);
            putIndex(block, NODE_ENTRIES, childrenOfNodes.get(i - 1));
          } else {
            putEntries(block, leaves.get(i - 1 - nodes));
          }
          return block;
        });
  }

  /** The lowest bit says that names with this hash are also in the leaf before. */
  private static int indexHash(List<List<Entry>> leaves, int leaf) {
    int first = leaves.get(leaf).get(0).majorHash();
    if (leaf == 0) {
      return first;
    }
    List<Entry> before = leaves.get(leaf - 1);
    return before.get(before.size() - 1).majorHash() == first ? first | 1 : first;
  }

  private static void putIndex(ByteBuffer block, int limit, List<Child> children) {
    block.putShort((short) limit).putShort((short) children.size()).putInt(children.get(0).block);
    for (Child child : children.subList(1, children.size())) {
      block.putInt(child.hash).putInt(child.block);
    }
  }

  private static void putDotEntries(ByteBuffer block, Directory directory, int end) {
    putEntryHeader(block, directory.number, DOT_ENTRY, 1, DIRECTORY);
    block.put((byte) '.').position(DOT_ENTRY);
    putEntryHeader(block, directory.parent().number, end - DOT_ENTRY, 2, DIRECTORY);
    block.put((byte) '.').put((byte) '.').position(DOT_ENTRIES);
  }

  private static void putEntries(ByteBuffer block, List<Entry> entries) {
    for (int i = 0; i < entries.size(); i++) {
      Entry entry = entries.get(i);
      int start = block.position();
      int size = i == entries.size() - 1 ? BLOCK_SIZE - start : entry.size();
      int type = entry.inode.directoryEntryType();
      putEntryHeader(block, entry.inode.number, size, entry.name.length(), type);
      block.put(entry.name.toBytes()).position(start + entry.size());
    }
  }

  private static void putEntryHeader(
      ByteBuffer block, int inode, int size, int nameLength, int type) {
    block.putInt(inode).putShort((short) size).put((byte) nameLength).put((byte) type);
  }
}
