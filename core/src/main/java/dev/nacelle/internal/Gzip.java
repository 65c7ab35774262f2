// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import java.util.zip.ZipException;

/**
 * An unpacked gzip stream (RFC 1952): any number of members, as pigz and "cat a.gz b.gz" make them.
 * What their headers say beside that is passed over, extra fields that are no list of subfields
 * included, as stargz has them. {@link #close} gives back the decoder's memory, which is not the
 * heap's, and closes the source as well. Used by one thread.
 *
 * <p>Our own because java.util.zip takes what it does not understand behind a member for the end,
 * and Commons Compress wants the extra field to be subfields.
 */
public final class Gzip extends BlockInputStream {
  private static final int BUFFER = 1 << 16;

  /** RFC 1952 section 2.3.1. */
  private static final int ID1 = 0x1f;

  private static final int ID2 = 0x8b;
  private static final int DEFLATE = 8;
  private static final int FLAG_HEADER_CHECKSUM = 1 << 1;
  private static final int FLAG_EXTRA = 1 << 2;
  private static final int FLAG_NAME = 1 << 3;
  private static final int FLAG_COMMENT = 1 << 4;
  private static final int RESERVED_FLAGS = 0xe0;

  private final InputStream in;
  private final Inflater inflater = new Inflater(true);
  private final CRC32 headerChecksum = new CRC32();
  private final CRC32 checksum = new CRC32();
  private final byte[] buffer = new byte[BUFFER];

  /** What of the buffer was not used yet. */
  private int position;

  private int limit;

  /** Whether a member's header was read, and not its trailer yet. */
  private boolean inMember;

  private boolean first = true;
  private boolean ended;

  private Gzip(InputStream in) {
    this.in = in;
  }

  /** Starts to unpack; nothing is read yet. */
  public static InputStream open(InputStream packed) {
    return new Gzip(packed);
  }

  /**
   * Reads some.
   *
   * @throws IOException when the content is corrupt or ends early, and as the source throws
   */
  @Override
  public int read(byte[] bytes, int offset, int length) throws IOException {
    if (length == 0) {
      return 0;
    }
    while (inMember || startMember()) {
      int count = inflate(bytes, offset, length);
      if (count > 0) {
        checksum.update(bytes, offset, count);
        return count;
      }
      if (inflater.finished()) {
        endMember();
      } else if (inflater.needsDictionary()) {
        throw new ZipException("it needs a dictionary");
      } else if (!fill()) {
        throw new EOFException("it ends in the midst of a member");
      } else {
        inflater.setInput(buffer, position, limit - position);
      }
    }
    return -1;
  }

  private int inflate(byte[] bytes, int offset, int length) throws ZipException {
    try {
      int count = inflater.inflate(bytes, offset, length);
      position = limit - inflater.getRemaining();
      return count;
    } catch (DataFormatException e) {
      ZipException corrupt = new ZipException(e.getMessage());
      corrupt.initCause(e);
      throw corrupt;
    }
  }

  private boolean fill() throws IOException {
    position = 0;
    limit = Math.max(in.read(buffer, 0, buffer.length), 0);
    return limit > 0;
  }

  /** False at the end of the stream, which can only be where a member could begin. */
  private boolean startMember() throws IOException {
    if (ended || (!first && position == limit && !fill())) {
      ended = true;
      return false;
    }
    headerChecksum.reset();
    if (next() != ID1 || next() != ID2) {
      throw new ZipException(first ? "it is no gzip" : "it goes on behind its end");
    }
    int method = next();
    int flags = next();
    if (method != DEFLATE || (flags & RESERVED_FLAGS) != 0) {
      throw new ZipException("a member's header is of an unknown kind");
    }
    skip(6); // MTIME, XFL and OS
    if ((flags & FLAG_EXTRA) != 0) {
      skip(next() | next() << 8);
    }
    for (int flag : new int[] {FLAG_NAME, FLAG_COMMENT}) {
      if ((flags & flag) != 0) {
        skipText();
      }
    }
    if ((flags & FLAG_HEADER_CHECKSUM) != 0) {
      int expected = (int) headerChecksum.getValue() & 0xFFFF;
      if (little(2) != expected) {
        throw new ZipException("the checksum of a member's header is wrong");
      }
    }
    first = false;
    inMember = true;
    checksum.reset();
    inflater.reset();
    inflater.setInput(buffer, position, limit - position);
    return true;
  }

  private void endMember() throws IOException {
    long size = inflater.getBytesWritten() & 0xFFFF_FFFFL;
    if (little(4) != checksum.getValue() || little(4) != size) {
      throw new ZipException("the checksum or size of a member is wrong");
    }
    inMember = false;
  }

  private int next() throws IOException {
    if (position == limit && !fill()) {
      throw new EOFException("it ends in the midst of a member");
    }
    int b = buffer[position++] & 0xFF;
    headerChecksum.update(b);
    return b;
  }

  private void skip(int count) throws IOException {
    for (int i = 0; i < count; i++) {
      next();
    }
  }

  private void skipText() throws IOException {
    while (next() != 0) {
      // its content is nobody's business
    }
  }

  /** A number of so many bytes. */
  private long little(int bytes) throws IOException {
    long value = 0;
    for (int i = 0; i < bytes; i++) {
      value |= (long) next() << 8 * i;
    }
    return value;
  }

  @Override
  public void close() throws IOException {
    inflater.end();
    in.close();
  }
}
