// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * How an image of anybody's was left, as its superblock says; nothing else of it is read, and what
 * is read is not trusted.
 */
public enum Ext4State {
  /** It can be mounted as it is. */
  CLEAN,
  /** Its journal has what it lacks: it has to be mounted to be written to once. */
  NEEDS_RECOVERY,
  /** It was in use, and has no journal: it has to be checked. */
  NEEDS_CHECK;

  private static final int MAGIC_AT = 0x38;
  private static final int STATE = 0x3A;
  private static final int COMPATIBLE = 0x5C;
  private static final int INCOMPATIBLE = 0x60;
  private static final int HAS_JOURNAL = 0x4;
  private static final int RECOVER = 0x4;

  /**
   * Looks at an image.
   *
   * @throws Ext4ImageException when it is none of ext2, ext3 or ext4
   * @throws IOException when it cannot be read
   */
  public static Ext4State of(Path image) throws IOException {
    ByteBuffer in = Ext4Format.littleEndian(new byte[Ext4Format.SUPERBLOCK_SIZE]);
    try (FileChannel channel = FileChannel.open(image, StandardOpenOption.READ)) {
      for (int read = 0; in.hasRemaining() && read >= 0; ) {
        read = channel.read(in, Ext4Format.SUPERBLOCK_OFFSET + in.position());
      }
    }
    if (in.hasRemaining() || in.getShort(MAGIC_AT) != (short) Superblock.MAGIC) {
      throw new Ext4ImageException("it has no superblock of ext4");
    }
    if ((in.getInt(COMPATIBLE) & HAS_JOURNAL) != 0) {
      return (in.getInt(INCOMPATIBLE) & RECOVER) == 0 ? CLEAN : NEEDS_RECOVERY;
    }
    return (in.getShort(STATE) & Superblock.CLEAN) != 0 ? CLEAN : NEEDS_CHECK;
  }
}
