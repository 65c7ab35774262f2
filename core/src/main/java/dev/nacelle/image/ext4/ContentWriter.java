// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static dev.nacelle.image.ext4.Ext4Format.BLOCK_SIZE;

import dev.nacelle.image.ext4.FreeRuns.Run;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;

/** Streams one file's content to newly allocated blocks. */
final class ContentWriter {
  /** Blocks that are read at once where zeros are looked for: 256 KiB. */
  private static final long CHUNK = 64;

  private static final byte[] ZEROS = new byte[BLOCK_SIZE];

  private final BlockAllocator allocator;
  private final ImageFile file;
  private final List<DataRange> data;
  private final InputStream in;

  /** Where in {@link #data} the stream stands, and where in the file. */
  private int current;

  private long position;

  /** Triples as in {@link Inode#extents}, in the first part of an array that grows. */
  private int[] extents = new int[3];

  private int used;

  private ContentWriter(
      BlockAllocator allocator, ImageFile file, List<DataRange> data, InputStream in) {
    this.allocator = allocator;
    this.file = file;
    this.data = data;
    this.in = in;
  }

  /**
   * Writes the ranges, whose bytes follow each other in the stream; what is between them in the
   * same block becomes zeros, other blocks holes.
   *
   * @param data not empty ranges, in rising order without overlap
   * @return the extents
   */
  static int[] write(BlockAllocator allocator, ImageFile file, List<DataRange> data, InputStream in)
      throws IOException {
    ContentWriter writer = new ContentWriter(allocator, file, data, in);
    try {
      writer.writeAll();
      return Arrays.copyOf(writer.extents, writer.used);
    } catch (IOException | RuntimeException e) {
      free(allocator, Arrays.copyOf(writer.extents, writer.used));
      throw e;
    }
  }

  /**
   * Writes that many bytes, but for blocks of zeros, which become holes.
   *
   * @return the extents
   * @throws EOFException when the content is shorter
   */
  static int[] writeWithHoles(
      BlockAllocator allocator, ImageFile file, long size, InputStream content) throws IOException {
    ContentWriter writer = new ContentWriter(allocator, file, List.of(), content);
    try {
      writer.writeAllButZeros(size);
      return Arrays.copyOf(writer.extents, writer.used);
    } catch (IOException | RuntimeException e) {
      free(allocator, Arrays.copyOf(writer.extents, writer.used));
      throw e;
    }
  }

  static void free(BlockAllocator allocator, int[] extents) {
    for (int i = 0; i < extents.length; i += 3) {
      allocator.free(
          new Run(Integer.toUnsignedLong(extents[i + 2]), Integer.toUnsignedLong(extents[i + 1])));
    }
  }

  private void writeAll() throws IOException {
    for (int i = 0; i < data.size(); ) {
      long firstBlock = data.get(i).offset() / BLOCK_SIZE;
      long endBlock = Ext4Format.blocksFor(data.get(i).end());
      for (i++; i < data.size() && data.get(i).offset() / BLOCK_SIZE <= endBlock; i++) {
        endBlock = Ext4Format.blocksFor(data.get(i).end());
      }
      writeBlocks(firstBlock, endBlock);
    }
  }

  private void writeBlocks(long firstBlock, long endBlock) throws IOException {
    position = firstBlock * BLOCK_SIZE;
    for (long block = firstBlock; block < endBlock; ) {
      Run run = allocator.allocate(endBlock - block);
      append(block, run);
      file.seekBlock(run.start());
      feed(run.length() * BLOCK_SIZE);
      block += run.length();
    }
  }

  private void writeAllButZeros(long size) throws IOException {
    byte[] chunk = new byte[(int) (Math.min(CHUNK, Ext4Format.blocksFor(size)) * BLOCK_SIZE)];
    for (long at = 0; at < size; at += chunk.length) {
      int wanted = (int) Math.min(chunk.length, size - at);
      if (in.readNBytes(chunk, 0, wanted) < wanted) {
        throw new EOFException("the content ends early");
      }
      int blocks = (int) Ext4Format.blocksFor(wanted);
      Arrays.fill(chunk, wanted, blocks * BLOCK_SIZE, (byte) 0);
      for (int from = 0; from < blocks; ) {
        int to = from;
        while (to < blocks && !isZero(chunk, to)) {
          to++;
        }
        writeBlocks(at / BLOCK_SIZE, chunk, from, to);
        from = to + 1;
      }
    }
  }

  private static boolean isZero(byte[] chunk, int block) {
    int start = block * BLOCK_SIZE;
    return Arrays.equals(chunk, start, start + BLOCK_SIZE, ZEROS, 0, BLOCK_SIZE);
  }

  /** Some blocks of a chunk, which begins with that block of the file. */
  private void writeBlocks(long chunkStart, byte[] chunk, int from, int to) throws IOException {
    for (int block = from; block < to; ) {
      Run run = allocator.allocate(to - block);
      append(chunkStart + block, run);
      file.seekBlock(run.start());
      int length = (int) run.length();
      file.write(ByteBuffer.wrap(chunk, block * BLOCK_SIZE, length * BLOCK_SIZE));
      block += length;
    }
  }

  private void append(long logicalBlock, Run run) {
    if (used > 0
        && Integer.toUnsignedLong(extents[used - 3] + extents[used - 2]) == logicalBlock
        && Integer.toUnsignedLong(extents[used - 1] + extents[used - 2]) == run.start()) {
      extents[used - 2] += (int) run.length();
      return;
    }
    if (used == extents.length) {
      extents = Arrays.copyOf(extents, 2 * used);
    }
    extents[used++] = (int) logicalBlock;
    extents[used++] = (int) run.length();
    extents[used++] = (int) run.start();
  }

  private void feed(long count) throws IOException {
    long end = position + count;
    while (position < end) {
      long step;
      if (current == data.size()) {
        step = end - position;
        file.writeZeros(step);
      } else if (position < data.get(current).offset()) {
        step = Math.min(end, data.get(current).offset()) - position;
        file.writeZeros(step);
      } else {
        step = Math.min(end, data.get(current).end()) - position;
        file.transferFrom(in, step);
        if (position + step == data.get(current).end()) {
          current++;
        }
      }
      position += step;
    }
  }
}
