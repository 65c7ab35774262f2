// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.io.IOException;

/**
 * Unpacks single blocks of LZ4 and of LZO, which kernels are packed by. Both are runs of literal
 * bytes, and copies of what is already unpacked; a copy may overlap what it makes. Everything that
 * the input says is checked; a fault is an IOException.
 */
final class LzBlock {
  private final byte[] in;
  private final int end;
  private final byte[] out;
  private int position;
  private int size;

  private LzBlock(byte[] in, int offset, int length, byte[] out) {
    this.in = in;
    this.position = offset;
    this.end = offset + length;
    this.out = out;
  }

  /**
   * Unpacks a block of LZ4 (doc/lz4_Block_format.md of LZ4).
   *
   * @param out filled from its start
   * @return how many bytes were unpacked
   */
  static int lz4(byte[] in, int offset, int length, byte[] out) throws IOException {
    LzBlock block = new LzBlock(in, offset, length, out);
    block.lz4();
    return block.size;
  }

  /** Unpacks a block of LZO1X (the kernel's Documentation/staging/lzo.rst), likewise. */
  static int lzo1x(byte[] in, byte[] out) throws IOException {
    LzBlock block = new LzBlock(in, 0, in.length, out);
    block.lzo1x();
    return block.size;
  }

  private void lz4() throws IOException {
    while (true) {
      int token = next();
      int literals = token >> 4;
      copyLiterals(literals == 15 ? 15 + lz4Length() : literals);
      if (position == end) {
        return; // the last sequence is literals only
      }
      int distance = nextShort();
      int length = token & 15;
      copyMatch(distance, 4 + (length == 15 ? 15 + lz4Length() : length));
    }
  }

  private int lz4Length() throws IOException {
    int length = 0;
    int more;
    do {
      more = next();
      length = bounded(length + more);
    } while (more == 255);
    return length;
  }

  private void lzo1x() throws IOException {
    // How many literals the last instruction copied: 0 to 3, or 4 for more.
    int state = 0;
    int first = next();
    if (first > 17) {
      copyLiterals(first - 17);
      state = Math.min(first - 17, 4);
    } else if (first == 17) {
      throw new IOException("it is of a later version than LZO1X's");
    } else {
      position--;
    }
    while (true) {
      int instruction = next();
      int trailing = instruction;
      if (instruction >= 128) {
        copyMatch(near(instruction), 5 + (instruction >> 5 & 3));
      } else if (instruction >= 64) {
        copyMatch(near(instruction), 3 + (instruction >> 5 & 1));
      } else if (instruction >= 32) {
        int length = 2 + lzoLength(instruction, 31);
        trailing = nextShort();
        copyMatch((trailing >> 2) + 1, length);
      } else if (instruction >= 16) {
        int length = 2 + lzoLength(instruction, 7);
        trailing = nextShort();
        int distance = ((instruction & 8) << 11) + (trailing >> 2);
        if (distance == 0) {
          requireEnd();
          return;
        }
        copyMatch((1 << 14) + distance, length);
      } else if (state == 0) {
        copyLiterals(3 + lzoLength(instruction, 15));
        state = 4;
        continue;
      } else {
        int distance = (next() << 2) + (instruction >> 2);
        if (state == 4) {
          copyMatch(distance + (2 << 10) + 1, 3);
        } else {
          copyMatch(distance + 1, 2);
        }
      }
      state = trailing & 3;
      copyLiterals(state);
    }
  }

  /** The distance of an instruction that has three bits of it. */
  private int near(int instruction) throws IOException {
    return (next() << 3) + (instruction >> 2 & 7) + 1;
  }

  /** A length in the low bits of an instruction; where those are 0, more bytes have it. */
  private int lzoLength(int instruction, int mask) throws IOException {
    int length = instruction & mask;
    if (length != 0) {
      return length;
    }
    length = mask;
    int more;
    while ((more = next()) == 0) {
      length = bounded(length + 255);
    }
    return length + more;
  }

  private int next() throws IOException {
    if (position == end) {
      throw new IOException("a block ends too early");
    }
    return in[position++] & 0xff;
  }

  private int nextShort() throws IOException {
    return next() | next() << 8;
  }

  /** A length while it grows: beyond what there is room for it is wrong, and must not overflow. */
  private int bounded(int length) throws IOException {
    requireRoom(length);
    return length;
  }

  private void requireRoom(int length) throws IOException {
    if (length > out.length - size) {
      throw new IOException("a block unpacks to more than " + out.length + " bytes");
    }
  }

  private void requireEnd() throws IOException {
    if (position != end) {
      throw new IOException("a block goes on behind its end, for " + (end - position) + " bytes");
    }
  }

  private void copyLiterals(int length) throws IOException {
    requireRoom(length);
    if (length > end - position) {
      throw new IOException("a block ends too early");
    }
    System.arraycopy(in, position, out, size, length);
    position += length;
    size += length;
  }

  private void copyMatch(int distance, int length) throws IOException {
    requireRoom(length);
    if (distance == 0 || distance > size) {
      throw new IOException("a block repeats what is " + distance + " bytes back, at " + size);
    }
    if (distance >= length) {
      System.arraycopy(out, size - distance, out, size, length);
      size += length;
    } else {
      for (int to = size + length; size < to; size++) {
        out[size] = out[size - distance];
      }
    }
  }
}
