// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.ByteBuffer;

/**
 * The hash by which an indexed directory is ordered: "half MD4, unsigned" (directory.rst,
 * fs/ext4/hash.c): MD4's functions and constants (RFC 1320) over 8 words in 24 steps, keyed with
 * the filesystem's seed.
 */
final class DirectoryHash {
  /** "Half MD4" of {@code s_def_hash_version} and the directory's root. */
  static final int VERSION = 1;

  /**
   * {@code s_flags}: bytes of names are unsigned, whatever the C compiler's char is (super.rst).
   */
  static final int UNSIGNED_FLAG = 2;

  private static final int[][] WORD_ORDER = {
    {0, 1, 2, 3, 4, 5, 6, 7}, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 7, 2, 6, 1, 5, 0, 4}
  };
  private static final int[][] ROTATION = {{3, 7, 11, 19}, {3, 5, 9, 13}, {3, 9, 11, 15}};
  private static final int[] CONSTANT = {0, 0x5A827999, 0x6ED9EBA1};

  private static final int CHUNK = 32;

  /** The largest hash means "end of directory" to readdir. */
  private static final int END_OF_DIRECTORY = 0x7FFFFFFF << 1;

  private final int[] seed = new int[4];

  /**
   * @param seed 16 bytes, not all 0
   */
  DirectoryHash(byte[] seed) {
    Ext4Format.littleEndian(seed).asIntBuffer().get(this.seed);
  }

  /** The hash in the high 32 bits, of which the lowest is 0, and the minor hash in the low ones. */
  long of(byte[] name) {
    int[] state = seed.clone();
    ByteBuffer words = ByteBuffer.allocate(CHUNK);
    for (int from = 0; from < name.length; from += CHUNK) {
      fill(words, name, from);
      mix(state, words);
    }
    int hash = state[1] & ~1;
    if (hash == END_OF_DIRECTORY) {
      hash -= 2;
    }
    return (long) hash << 32 | Integer.toUnsignedLong(state[2]);
  }

  /**
   * The next bytes of the name, four to a word, the first the highest. What is left over is filled
   * with the length, and a last partial word has its filling in front.
   */
  private static void fill(ByteBuffer words, byte[] name, int from) {
    int left = name.length - from;
    int padding = (left & 0xFF) * 0x01010101;
    for (int word = 0; word < CHUNK / 4; word++) {
      int value = padding;
      int end = Math.min(name.length, from + 4 * word + 4);
      for (int i = from + 4 * word; i < end; i++) {
        value = value << 8 | (name[i] & 0xFF);
      }
      words.putInt(4 * word, value);
    }
  }

  private static void mix(int[] state, ByteBuffer words) {
    int a = state[0];
    int b = state[1];
    int c = state[2];
    int d = state[3];
    for (int round = 0; round < 3; round++) {
      for (int step = 0; step < 8; step++) {
        int f =
            switch (round) {
              case 0 -> (b & c) | (~b & d);
              case 1 -> (b & c) | (b & d) | (c & d);
              default -> b ^ c ^ d;
            };
        int word = words.getInt(4 * WORD_ORDER[round][step]);
        int mixed = Integer.rotateLeft(a + f + word + CONSTANT[round], ROTATION[round][step % 4]);
        a = d;
        d = c;
        c = b;
        b = mixed;
      }
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
  }
}
