// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.zip.Adler32;
import java.util.zip.CRC32;
import java.util.zip.Checksum;
import org.jspecify.annotations.Nullable;

/**
 * Reads what lzop writes, which kernels with LZO are packed by. There is no specification of the
 * file but the two programs that read it: lzop itself, and the kernel's lib/decompress_unlzo.c. All
 * numbers are big-endian. Faults are exceptions of any kind.
 */
final class LzopReader {
  private static final int MAGIC_LENGTH = 9;

  /**
   * Largest block in bytes, unpacked: lib/decompress_unlzo.c refuses larger ones (LZO_BLOCK_SIZE).
   */
  private static final int MAX_BLOCK = 256 << 10;

  /** From this version on a header has a level and the upper half of the time. */
  private static final int VERSION_0940 = 0x0940;

  private static final int ADLER32_UNPACKED = 0x1;
  private static final int ADLER32_PACKED = 0x2;
  private static final int EXTRA_FIELD = 0x40;
  private static final int CRC32_UNPACKED = 0x100;
  private static final int CRC32_PACKED = 0x200;
  private static final int FILTER = 0x800;

  private final ByteBuffer in;
  private final int flags;

  /** Reads the header of what fills the buffer from its position to its limit. */
  LzopReader(ByteBuffer lzop) throws IOException {
    in = lzop;
    skip(MAGIC_LENGTH);
    boolean recent = Short.toUnsignedInt(in.getShort()) >= VERSION_0940;
    skip(recent ? 4 : 2); // versions of the library, and of lzop to unpack it
    int method = in.get();
    if (method < 1 || method > 3) {
      throw new IOException("its method " + method + " is unknown");
    }
    skip(recent ? 1 : 0); // level
    flags = in.getInt();
    if ((flags & FILTER) != 0) {
      throw new IOException("it is filtered");
    }
    skip(recent ? 12 : 8); // mode and time
    skip(Byte.toUnsignedInt(in.get())); // name
    skip(4); // checksum
    if ((flags & EXTRA_FIELD) != 0) {
      skip(in.getInt());
      skip(4);
    }
  }

  /**
   * Unpacks the next block, or returns null at the end.
   *
   * @param max how many bytes it may have
   */
  byte @Nullable [] next(long max) throws IOException {
    int size = in.getInt();
    if (size == 0) {
      return null;
    }
    int packed = in.getInt();
    if (size < 0 || size > Math.min(max, MAX_BLOCK) || packed <= 0 || packed > size) {
      throw new IOException(
          String.format(
              "at 0x%x a block of 0x%x bytes starts that unpack to 0x%x, where 0x%x may follow",
              in.position(), packed, size, Math.min(max, MAX_BLOCK)));
    }
    long adler32 = (flags & ADLER32_UNPACKED) == 0 ? -1 : Integer.toUnsignedLong(in.getInt());
    long crc32 = (flags & CRC32_UNPACKED) == 0 ? -1 : Integer.toUnsignedLong(in.getInt());
    if (packed < size) {
      skip(((flags & ADLER32_PACKED) == 0 ? 0 : 4) + ((flags & CRC32_PACKED) == 0 ? 0 : 4));
    }
    byte[] data = new byte[requireLeft(packed)];
    in.get(data);
    byte[] block = data;
    if (packed < size) {
      block = new byte[size];
      int unpacked = LzBlock.lzo1x(data, block);
      if (unpacked != size) {
        throw new IOException("a block of " + size + " bytes unpacks to " + unpacked);
      }
    }
    verify(new Adler32(), adler32, block);
    verify(new CRC32(), crc32, block);
    return block;
  }

  private static void verify(Checksum checksum, long expected, byte[] block) throws IOException {
    checksum.update(block);
    if (expected >= 0 && checksum.getValue() != expected) {
      throw new IOException("the checksum of a block is wrong");
    }
  }

  private void skip(int bytes) {
    in.position(in.position() + requireLeft(bytes));
  }

  private int requireLeft(int bytes) {
    if (bytes < 0 || bytes > in.remaining()) {
      throw new BufferUnderflowException();
    }
    return bytes;
  }
}
