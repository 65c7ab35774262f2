// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import dev.nacelle.image.ext4.DataRange;
import java.io.IOException;
import java.io.InputStream;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads a tar archive entry by entry, each with what its extended headers say of it. Memory is
 * bounded by the limit on such headers, whatever the archive says.
 *
 * <p>As in the tar readers of container engines, global PAX headers are passed over, and links,
 * devices and directories have no content whatever their size says.
 *
 * <p>Not safe for use from several threads; does not close the stream.
 */
public final class TarReader {
  private static final int BLOCK = TarHeader.BLOCK;

  private final InputStream in;
  private final int maxHeaderBytes;
  private final InputStream content = new Content();

  /** Of the current entry: data that was not read yet, and what pads it to a block. */
  private long remaining;

  private int padding;

  /** Bytes read so far, and where the first header of the current entry begins. */
  private long position;

  private long offset;

  /**
   * A reader at the start of an archive.
   *
   * @param maxHeaderBytes how large a PAX header, or a long name in GNU's manner, may be
   */
  public TarReader(InputStream in, int maxHeaderBytes) {
    this.in = in;
    this.maxHeaderBytes = maxHeaderBytes;
  }

  /**
   * The next entry, or null at the end of the archive.
   *
   * @throws TarException when the archive is damaged, truncated or beyond a limit
   */
  public @Nullable TarEntry next() throws IOException {
    skipContent();
    offset = position;
    PaxRecords pax = PaxRecords.NONE;
    byte[] longPath = null;
    byte[] longTarget = null;
    boolean headersOnly = false;
    while (true) {
      TarHeader header = nextHeader();
      if (header == null) {
        if (headersOnly) {
          throw new TarException("the archive ends behind an extended header");
        }
        return null;
      }
      headersOnly = true;
      switch (header.type()) {
        case 'x' -> pax = PaxRecords.parse(readHeaderContent(header));
        case 'g' -> {
          startContent(header.size());
          skipContent();
          headersOnly = false;
        }
        case 'L' -> longPath = TarHeader.untilNul(readHeaderContent(header));
        case 'K' -> longTarget = TarHeader.untilNul(readHeaderContent(header));
        default -> {
          byte[] path = firstOf(longPath, pax.bytes("path"), header.path());
          byte[] target = firstOf(longTarget, pax.bytes("linkpath"), header.linkTarget());
          return entry(header, pax, path, target);
        }
      }
    }
  }

  private static byte[] firstOf(byte @Nullable [] one, byte @Nullable [] two, byte[] three) {
    return one != null ? one : two != null ? two : three;
  }

  private TarEntry entry(TarHeader header, PaxRecords pax, byte[] headerPath, byte[] target)
      throws IOException {
    TarEntry.Type type = type(header, headerPath);
    byte[] sparsePath = pax.bytes("GNU.sparse.name");
    byte[] path = sparsePath == null ? headerPath : sparsePath;
    if (path.length == 0 && type != TarEntry.Type.DIRECTORY) {
      throw new TarException("an entry has no name");
    }
    long size = 0;
    List<DataRange> data = List.of();
    remaining = 0;
    padding = 0;
    if (type == TarEntry.Type.REGULAR_FILE) {
      startContent(pax.number("size", header.size()));
      size = remaining;
      SparseMap map = sparseMap(header, pax);
      if (map == null) {
        data = List.of(new DataRange(0, size));
      } else {
        size = sparseSize(header, pax);
        data = map.ranges(size, remaining);
      }
    }
    boolean device = type == TarEntry.Type.CHARACTER_DEVICE || type == TarEntry.Type.BLOCK_DEVICE;
    boolean link = type == TarEntry.Type.HARD_LINK || type == TarEntry.Type.SYMBOLIC_LINK;
    Instant modified = pax.time("mtime");
    Map<String, byte[]> xattrs = pax.xattrs();
    return new TarEntry(
        type,
        path,
        link ? target : new byte[0],
        (int) header.mode() & 07777,
        id("uid", pax.signedNumber("uid", header.uid())),
        id("gid", pax.signedNumber("gid", header.gid())),
        modified == null ? time(header) : modified,
        size,
        data,
        device ? notNegative("devmajor", header.major()) : 0,
        device ? notNegative("devminor", header.minor()) : 0,
        xattrs);
  }

  private static Instant time(TarHeader header) throws TarException {
    return PaxRecords.instant(header.modified(), 0);
  }

  /**
   * Owners are unsigned on Linux. Where they are signed, as on macOS, "nobody" is -2, and an
   * archive says so; it is the same 32 bits. Those of -1 are no owner: chown(2), by which engines
   * unpack, takes them for "leave it as it is", which is root.
   */
  private static long id(String field, long value) throws TarException {
    long id =
        value < 0 && value >= Integer.MIN_VALUE
            ? Integer.toUnsignedLong((int) value)
            : notNegative(field, value);
    return id == 0xFFFF_FFFFL ? 0 : id;
  }

  private static TarEntry.Type type(TarHeader header, byte[] path) throws TarException {
    return switch (header.type()) {
      // Before POSIX, a directory was a file whose name ends in a slash.
      case '\0' ->
          path.length > 0 && path[path.length - 1] == '/'
              ? TarEntry.Type.DIRECTORY
              : TarEntry.Type.REGULAR_FILE;
      case '0', '7', 'S' -> TarEntry.Type.REGULAR_FILE;
      case '1' -> TarEntry.Type.HARD_LINK;
      case '2' -> TarEntry.Type.SYMBOLIC_LINK;
      case '3' -> TarEntry.Type.CHARACTER_DEVICE;
      case '4' -> TarEntry.Type.BLOCK_DEVICE;
      case '5' -> TarEntry.Type.DIRECTORY;
      case '6' -> TarEntry.Type.FIFO;
      default ->
          throw new TarException(
              "an entry has the unknown type 0x" + Integer.toHexString(header.type()));
    };
  }

  private @Nullable SparseMap sparseMap(TarHeader header, PaxRecords pax) throws IOException {
    if (header.type() == 'S') {
      return SparseMap.ofOldHeader(header, this::readBlock);
    }
    if (pax.number("GNU.sparse.major", 0) == 1) {
      return SparseMap.ofContent(this::readContentBlock);
    }
    return SparseMap.ofPax(pax);
  }

  private static long sparseSize(TarHeader header, PaxRecords pax) throws TarException {
    if (header.type() == 'S') {
      return notNegative("real size", header.number(483, 12, "real size"));
    }
    return pax.number("GNU.sparse.realsize", pax.number("GNU.sparse.size", 0));
  }

  private static long notNegative(String field, long value) throws TarException {
    if (value < 0) {
      throw new TarException("the " + field + " of an entry is negative");
    }
    return value;
  }

  /**
   * Where in the archive the current entry begins, or the one that could not be read: the offset in
   * bytes of its first header.
   */
  public long offset() {
    return offset;
  }

  /** The data of the current entry: all of its ranges, one behind the other. */
  public InputStream content() {
    return content;
  }

  /** Null at the end: two blocks of zeros, or the end of the stream where a header could be. */
  private @Nullable TarHeader nextHeader() throws IOException {
    byte[] block = read(BLOCK);
    if (block.length == 0) {
      return null;
    }
    requireWhole(block);
    if (!TarHeader.isZero(block)) {
      return new TarHeader(block);
    }
    byte[] second = read(BLOCK);
    if (second.length == BLOCK && !TarHeader.isZero(second)) {
      throw new TarException("the archive goes on behind a block of zeros");
    }
    return null;
  }

  /** Fewer bytes only at the end of the stream. */
  private byte[] read(int count) throws IOException {
    byte[] bytes = in.readNBytes(count);
    position += bytes.length;
    return bytes;
  }

  private byte[] readBlock() throws IOException {
    byte[] block = read(BLOCK);
    requireWhole(block);
    return block;
  }

  private byte[] readContentBlock() throws IOException {
    byte[] block = content.readNBytes(BLOCK);
    requireWhole(block);
    return block;
  }

  private static void requireWhole(byte[] block) throws TarException {
    if (block.length < BLOCK) {
      throw truncated();
    }
  }

  private static TarException truncated() {
    return new TarException("the archive is truncated");
  }

  private byte[] readHeaderContent(TarHeader header) throws IOException {
    long size = header.size();
    if (size > maxHeaderBytes) {
      throw new TarException(
          "an extended header has " + size + " bytes, more than the limit of " + maxHeaderBytes);
    }
    startContent(size);
    byte[] bytes = content.readNBytes((int) size);
    skipContent();
    return bytes;
  }

  private void startContent(long size) throws TarException {
    notNegative("size", size);
    remaining = size;
    padding = (int) (-size & (BLOCK - 1));
  }

  private void skipContent() throws IOException {
    byte[] sink = new byte[(int) Math.min(remaining, 1 << 16)];
    while (remaining > 0) {
      if (content.read(sink, 0, sink.length) < 0) {
        throw truncated();
      }
    }
    // Some archives (umoci insert's) end without the last padding; as with Go's reader that is
    // an end like any other.
    read(padding);
    padding = 0;
  }

  private final class Content extends InputStream {
    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
      if (length == 0) {
        return 0;
      }
      if (remaining == 0) {
        return -1;
      }
      int count = in.read(bytes, offset, (int) Math.min(length, remaining));
      if (count < 0) {
        throw truncated();
      }
      remaining -= count;
      position += count;
      return count;
    }
  }
}
