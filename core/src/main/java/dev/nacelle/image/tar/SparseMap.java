// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import dev.nacelle.image.ext4.DataRange;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Where the data of a sparse file belongs, in each of the forms that GNU tar has had ("Storing
 * Sparse Files" of its manual).
 */
final class SparseMap {
  static final String PAX_OFFSET = "GNU.sparse.offset";
  static final String PAX_NUMBYTES = "GNU.sparse.numbytes";

  /** More than a sane file has; each takes 24 bytes of memory. */
  private static final int MAX_RANGES = 1 << 18;

  /** Offset and length in the old format, 12 octal digits each. */
  private static final int OLD_RANGE = 24;

  private final List<DataRange> ranges = new ArrayList<>();
  private long end;
  private long total;

  private SparseMap() {}

  /** The blocks of an archive. */
  @FunctionalInterface
  interface Blocks {
    byte[] next() throws IOException;
  }

  /**
   * The map of type 'S': 4 ranges in the header, then blocks of 21.
   *
   * @param more what follows the header
   */
  static SparseMap ofOldHeader(TarHeader header, Blocks more) throws IOException {
    SparseMap map = new SparseMap();
    byte[] block = header.bytes();
    map.addOld(block, 386, 4);
    boolean extended = block[482] != 0;
    while (extended) {
      block = more.next();
      map.addOld(block, 0, 21);
      extended = block[504] != 0;
    }
    return map;
  }

  private void addOld(byte[] block, int offset, int count) throws TarException {
    for (int i = 0; i < count; i++) {
      int at = offset + i * OLD_RANGE;
      if (block[at] == 0) {
        return;
      }
      add(
          TarHeader.number(block, at, 12, "sparse offset"),
          TarHeader.number(block, at + 12, 12, "sparse length"));
    }
  }

  /** The map of format 0.0 or 0.1, which is in the PAX header; null where there is none. */
  static @Nullable SparseMap ofPax(PaxRecords pax) throws TarException {
    String text = pax.text("GNU.sparse.map");
    if (text == null && pax.sparseNumbers().isEmpty()) {
      return null;
    }
    List<String> numbers =
        text == null ? pax.sparseNumbers() : List.of(text.split(",", 2 * MAX_RANGES + 2));
    if (numbers.size() % 2 != 0) {
      throw new TarException("the sparse map of a PAX header has an odd number of numbers");
    }
    SparseMap map = new SparseMap();
    for (int i = 0; i < numbers.size(); i += 2) {
      map.add(
          PaxRecords.number(PAX_OFFSET, numbers.get(i)),
          PaxRecords.number(PAX_NUMBYTES, numbers.get(i + 1)));
    }
    return map;
  }

  /**
   * The map of format 1.0, which is in front of the data: decimal lines, padded to a block.
   *
   * @param content the data
   */
  static SparseMap ofContent(Blocks content) throws IOException {
    Lines lines = new Lines(content);
    long count = PaxRecords.number("GNU.sparse.numblocks", lines.next());
    SparseMap map = new SparseMap();
    for (long i = 0; i < count; i++) {
      map.add(
          PaxRecords.number(PAX_OFFSET, lines.next()),
          PaxRecords.number(PAX_NUMBYTES, lines.next()));
    }
    return map;
  }

  private static final class Lines {
    private final Blocks blocks;
    private byte[] block = {};
    private int position;

    Lines(Blocks blocks) {
      this.blocks = blocks;
    }

    String next() throws IOException {
      byte[] line = new byte[20];
      for (int length = 0; length < line.length; length++) {
        if (position == block.length) {
          block = blocks.next();
          position = 0;
        }
        byte b = block[position++];
        if (b == '\n') {
          return new String(line, 0, length, StandardCharsets.ISO_8859_1);
        }
        line[length] = b;
      }
      throw new TarException("the map of a sparse file has a line that is no number");
    }
  }

  private void add(long offset, long length) throws TarException {
    if (offset < end || length < 0 || offset + length < 0) {
      throw new TarException("the map of a sparse file is out of order");
    }
    if (ranges.size() == MAX_RANGES) {
      throw new TarException("the map of a sparse file has more than " + MAX_RANGES + " ranges");
    }
    if (length > 0) {
      ranges.add(new DataRange(offset, length));
      total += length;
    }
    end = offset + length;
  }

  /** The ranges, if they agree with the file's size and with how much data there is. */
  List<DataRange> ranges(long size, long dataSize) throws TarException {
    if (end > size || total != dataSize) {
      throw new TarException("the map of a sparse file does not agree with its size");
    }
    return ranges;
  }
}
