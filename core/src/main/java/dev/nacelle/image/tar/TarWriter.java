// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.US_ASCII;

import dev.nacelle.image.ext4.DataRange;
import java.io.ByteArrayOutputStream;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Makes the blocks of a tar archive, as of POSIX.1-2017 pax: a ustar header for each file, and an
 * extended header before it for what that has no room for. The content is the caller's to put
 * behind them, and to pad. A file with holes is one of GNU's sparse format 1.0 ("Storing Sparse
 * Files" of the manual of GNU tar).
 */
public final class TarWriter {
  private static final int BLOCK = TarHeader.BLOCK;
  private static final int NAME_BYTES = 100;

  /** The largest number that twelve bytes of octal digits hold, one of which is their end. */
  private static final long LARGEST = 077777777777L;

  private TarWriter() {}

  /**
   * The header blocks of a file. Of one with holes its map as well: what follows are the bytes of
   * its data alone. Its ranges begin at multiples of 512 bytes, and those but the last have such
   * lengths, for GNU tar.
   */
  public static byte[] header(TarEntry entry) {
    ByteArrayOutputStream blocks = new ByteArrayOutputStream();
    long data = entry.data().stream().mapToLong(DataRange::length).sum();
    boolean sparse = data < entry.size();
    byte[] map = sparse ? map(entry) : new byte[0];
    byte[] path = sparse ? sparsePath(entry.path()) : entry.path();
    long size = map.length + data;
    byte[] extended = extended(entry, path, size, sparse);
    if (extended.length > 0) {
      Header header = new Header();
      header.text(0, NAME_BYTES, "pax".getBytes(US_ASCII));
      header.number(100, 8, 0644);
      header.number(124, 12, extended.length);
      header.number(136, 12, 0);
      blocks.writeBytes(header.finish('x'));
      blocks.writeBytes(Arrays.copyOf(extended, extended.length + padding(extended.length)));
    }
    Header header = new Header();
    header.text(0, NAME_BYTES, path);
    header.number(100, 8, entry.permissions());
    header.number(108, 8, entry.uid());
    header.number(116, 8, entry.gid());
    header.size(size);
    header.number(136, 12, Math.max(0, entry.modified().getEpochSecond()));
    header.text(157, NAME_BYTES, entry.linkTarget());
    header.number(329, 8, entry.major());
    header.number(337, 8, entry.minor());
    blocks.writeBytes(
        header.finish(
            switch (entry.type()) {
              case REGULAR_FILE -> '0';
              case HARD_LINK -> '1';
              case SYMBOLIC_LINK -> '2';
              case CHARACTER_DEVICE -> '3';
              case BLOCK_DEVICE -> '4';
              case DIRECTORY -> '5';
              case FIFO -> '6';
            }));
    blocks.writeBytes(map);
    return blocks.toByteArray();
  }

  /** Lines of numbers, padded to a block. */
  private static byte[] map(TarEntry entry) {
    List<DataRange> ranges = new ArrayList<>(entry.data());
    if (ranges.isEmpty() || ranges.get(ranges.size() - 1).end() < entry.size()) {
      // GNU tar has a file end where its map ends.
      ranges.add(new DataRange(entry.size(), 0));
    }
    StringBuilder lines = new StringBuilder().append(ranges.size()).append('\n');
    for (DataRange range : ranges) {
      lines.append(range.offset()).append('\n').append(range.length()).append('\n');
    }
    byte[] bytes = lines.toString().getBytes(US_ASCII);
    return Arrays.copyOf(bytes, bytes.length + padding(bytes.length));
  }

  /** What a reader without an idea of holes takes it for: another file beside it. */
  private static byte[] sparsePath(byte[] path) {
    int slash = path.length - 1;
    while (slash >= 0 && path[slash] != '/') {
      slash--;
    }
    ByteArrayOutputStream sparse = new ByteArrayOutputStream();
    sparse.write(path, 0, slash + 1);
    sparse.writeBytes("GNUSparseFile.0/".getBytes(US_ASCII));
    sparse.write(path, slash + 1, path.length - slash - 1);
    return sparse.toByteArray();
  }

  /** How many zeros follow so much content. */
  public static int padding(long size) {
    return (int) (-size & (BLOCK - 1));
  }

  /** What ends an archive. */
  public static byte[] end() {
    return new byte[2 * BLOCK];
  }

  private static byte[] extended(TarEntry entry, byte[] path, long size, boolean sparse) {
    ByteArrayOutputStream records = new ByteArrayOutputStream();
    if (!fits(path)) {
      record(records, "path", path);
    }
    if (sparse) {
      record(records, "GNU.sparse.major", "1");
      record(records, "GNU.sparse.minor", "0");
      record(records, "GNU.sparse.name", entry.path());
      record(records, "GNU.sparse.realsize", Long.toString(entry.size()));
    }
    if (!fits(entry.linkTarget())) {
      record(records, "linkpath", entry.linkTarget());
    }
    // Of one with holes the header alone has it: Python's tarfile takes the record for where the
    // next file begins, less the map.
    if (!sparse && size > LARGEST) {
      record(records, "size", Long.toString(size));
    }
    if (entry.uid() > 07777777) {
      record(records, "uid", Long.toString(entry.uid()));
    }
    if (entry.gid() > 07777777) {
      record(records, "gid", Long.toString(entry.gid()));
    }
    Instant modified = entry.modified();
    if (modified.getNano() != 0
        || modified.getEpochSecond() < 0
        || modified.getEpochSecond() > LARGEST) {
      record(records, "mtime", time(modified));
    }
    entry.xattrs().forEach((name, value) -> record(records, "SCHILY.xattr." + name, value));
    return records.toByteArray();
  }

  /** As a name of ASCII that needs no extended header. */
  private static boolean fits(byte[] name) {
    if (name.length > NAME_BYTES) {
      return false;
    }
    for (byte b : name) {
      if (b < 0) {
        return false;
      }
    }
    return true;
  }

  /** Decimal seconds; before the epoch, too, they grow with time. */
  private static String time(Instant instant) {
    long seconds = instant.getEpochSecond();
    int nanos = instant.getNano();
    boolean negative = seconds < 0;
    if (negative && nanos > 0) {
      seconds++;
      nanos = 1_000_000_000 - nanos;
    }
    return (negative ? "-" : "") + Math.abs(seconds) + "." + String.format("%09d", nanos);
  }

  private static void record(ByteArrayOutputStream records, String key, String value) {
    record(records, key, value.getBytes(US_ASCII));
  }

  /** "LENGTH KEY=VALUE\n", whose length counts itself. */
  private static void record(ByteArrayOutputStream records, String key, byte[] value) {
    byte[] name = key.getBytes(ISO_8859_1);
    int rest = 1 + name.length + 1 + value.length + 1;
    int length = rest + 1;
    while (Integer.toString(length).length() + rest != length) {
      length = Integer.toString(length).length() + rest;
    }
    records.writeBytes((length + " ").getBytes(US_ASCII));
    records.writeBytes(name);
    records.write('=');
    records.writeBytes(value);
    records.write('\n');
  }

  private static final class Header {
    private final byte[] block = new byte[BLOCK];

    /** Cut where it is longer, for those who do not know extended headers. */
    void text(int offset, int length, byte[] text) {
      System.arraycopy(text, 0, block, offset, Math.min(length, text.length));
    }

    /** Octal, and 0 where there is no room for it. */
    void number(int offset, int length, long value) {
      String digits = Long.toOctalString(value);
      if (digits.length() >= length) {
        digits = "0";
      }
      text(offset, length, ("0".repeat(length - 1 - digits.length()) + digits).getBytes(US_ASCII));
    }

    /**
     * Of the content. What is too large for octal digits is written as GNU tar does it: marked by
     * the highest bit, big-endian.
     */
    void size(long size) {
      if (size <= LARGEST) {
        number(124, 12, size);
        return;
      }
      block[124] = (byte) 0x80;
      for (int i = 0; i < Long.BYTES; i++) {
        block[124 + 12 - 1 - i] = (byte) (size >>> 8 * i);
      }
    }

    byte[] finish(char type) {
      block[156] = (byte) type;
      text(257, 8, "ustar\00000".getBytes(US_ASCII));
      text(148, 8, "        ".getBytes(US_ASCII));
      int sum = 0;
      for (byte b : block) {
        sum += b & 0xFF;
      }
      number(148, 7, sum);
      block[154] = 0;
      return block;
    }
  }
}
