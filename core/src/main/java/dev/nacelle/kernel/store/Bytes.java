// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.Arrays;

/**
 * A file's content with random access, in memory or on disk: what the parsers of this package read.
 * Every read is bounds-checked and a copy, so that what was checked is what is used.
 */
interface Bytes {
  /** Size in bytes. */
  long size();

  /**
   * Copies a range.
   *
   * @throws EOFException when the range is not wholly inside
   */
  byte[] read(long offset, int length) throws IOException;

  /** Copies a range, as {@link #read}, into a little-endian buffer. */
  default ByteBuffer buffer(long offset, int length) throws IOException {
    return ByteBuffer.wrap(read(offset, length)).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Whether the range lies wholly inside; an unsigned number beyond 2^63 never does. */
  default boolean contains(long offset, long length) {
    return offset >= 0 && length >= 0 && length <= size() && offset <= size() - length;
  }

  /** The content of an array that does not change meanwhile. */
  static Bytes of(byte[] bytes) {
    return new Bytes() {
      @Override
      public long size() {
        return bytes.length;
      }

      @Override
      public byte[] read(long offset, int length) throws EOFException {
        if (!contains(offset, length)) {
          throw new EOFException();
        }
        return Arrays.copyOfRange(bytes, (int) offset, (int) offset + length);
      }
    };
  }

  /** The content of a file that does not change meanwhile; the channel stays the caller's. */
  static Bytes of(FileChannel channel) throws IOException {
    long size = channel.size();
    return new Bytes() {
      @Override
      public long size() {
        return size;
      }

      @Override
      public byte[] read(long offset, int length) throws IOException {
        if (!contains(offset, length)) {
          throw new EOFException();
        }
        byte[] bytes = new byte[length];
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining()) {
          if (channel.read(buffer, offset + buffer.position()) < 0) {
            throw new EOFException();
          }
        }
        return bytes;
      }
    };
  }
}
