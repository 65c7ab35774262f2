// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.nio.charset.StandardCharsets;
import java.util.UUID;

/**
 * What an image is to be besides its tree. The same options and tree give the same bytes.
 *
 * @param uuid of the filesystem; also the seed of its directory hashes. Not the nil UUID.
 * @param label at most 16 bytes of UTF-8; empty for none
 * @param minimumBytes the filesystem's size where its content needs less; what is free is a hole of
 *     the image file. 0 for no more than needed
 * @param minimumInodes how many inodes there are where the tree has fewer; 0 for no more than
 *     needed, at most 2^31
 * @param scratch whether it is a disk to write to rather than an image to read. Then minimumBytes
 *     is also the most that it may have, and {@link Ext4Writer#finish} fails where the content
 *     needs more. Its block groups are left to the kernel to initialise when it first uses them
 *     ({@code uninit_bg}), so that one of 100 GiB takes less than 1 MiB of the host.
 * @param journal whether it has a journal, by which it is whole again after its machine was killed
 */
public record Ext4Options(
    UUID uuid,
    String label,
    long minimumBytes,
    long minimumInodes,
    boolean scratch,
    boolean journal) {
  private static final int MAX_LABEL_BYTES = 16;

  /** One for every 8 KiB of the largest filesystem. */
  private static final long MAX_MINIMUM_INODES = 1L << 31;

  /** What mke2fs allots to an inode. */
  private static final long SCRATCH_BYTES_PER_INODE = 16 * 1024;

  /**
   * @throws IllegalArgumentException when something is out of its range
   */
  public Ext4Options {
    if (uuid.equals(new UUID(0, 0))) {
      throw new IllegalArgumentException("the UUID is nil");
    }
    if (label.getBytes(StandardCharsets.UTF_8).length > MAX_LABEL_BYTES) {
      throw new IllegalArgumentException(
          "the label is longer than " + MAX_LABEL_BYTES + " bytes: " + label);
    }
    if (minimumBytes < 0 || minimumInodes < 0 || minimumInodes > MAX_MINIMUM_INODES) {
      throw new IllegalArgumentException(
          "no size of a filesystem: " + minimumBytes + " bytes, " + minimumInodes + " inodes");
    }
  }

  /** A filesystem without a label, no larger than needed. */
  public static Ext4Options of(UUID uuid) {
    return new Ext4Options(uuid, "", 0, 0, false, false);
  }

  /**
   * A disk to write to, with an inode for every 16 KiB.
   *
   * @param bytes size of the disk. At its end up to 4095 bytes stay unused, and where the last
   *     group of 128 MiB would be too small to hold more than its own descriptors, that group does.
   * @throws IllegalArgumentException when it is negative, or more than 16 TiB
   */
  public static Ext4Options scratch(UUID uuid, long bytes) {
    return disk(uuid, bytes, 0, false);
  }

  /**
   * The same with more inodes where its content needs them, and with a journal where it is to
   * outlive its machine.
   *
   * @param inodes how many there are beside one for every 16 KiB
   * @throws IllegalArgumentException when it is negative, or more than 16 TiB
   */
  public static Ext4Options disk(UUID uuid, long bytes, long inodes, boolean journal) {
    if (bytes > Ext4Format.MAX_BLOCKS * Ext4Format.BLOCK_SIZE) {
      throw new IllegalArgumentException("no disk of " + bytes + " bytes: 16 TiB at most");
    }
    long all = Math.min(MAX_MINIMUM_INODES, inodes + bytes / SCRATCH_BYTES_PER_INODE);
    return new Ext4Options(uuid, "", bytes, all, true, journal);
  }
}
