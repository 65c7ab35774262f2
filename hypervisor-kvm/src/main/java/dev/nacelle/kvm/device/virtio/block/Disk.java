// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import dev.nacelle.kvm.sys.FileDescriptor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * What a disk is to its driver: features and configuration.
 *
 * @param sectors its size in units of 512 bytes
 * @param discards whether the host takes space back
 * @param serial what the guest finds it by
 */
record Disk(long sectors, boolean readOnly, boolean discards, String serial) {
  // Feature bits, virtio 1.2 section 5.2.3
  static final long F_SEG_MAX = 1 << 2;
  static final long F_READ_ONLY = 1 << 5;
  static final long F_FLUSH = 1 << 9;
  static final long F_DISCARD = 1 << 13;
  static final long F_WRITE_ZEROES = 1 << 14;

  /** Ranges in one request, each of which is a system call. */
  static final int MAX_RANGES = 16;

  /** Sectors in a range: 1 GiB, so that the system call for it is over soon. */
  static final int MAX_RANGE_SECTORS = 1 << 21;

  /** In sectors: the block size of nearly every file system that an image could be on. */
  private static final int DISCARD_ALIGNMENT = 8;

  // struct virtio_blk_config, section 5.2.4
  private static final int CONFIG_BYTES = 60;
  private static final int CAPACITY = 0;
  private static final int SEG_MAX = 12;
  private static final int MAX_DISCARD_SECTORS = 36;
  private static final int MAX_DISCARD_SEG = 40;
  private static final int DISCARD_SECTOR_ALIGNMENT = 44;
  private static final int MAX_WRITE_ZEROES_SECTORS = 48;
  private static final int MAX_WRITE_ZEROES_SEG = 52;
  private static final int WRITE_ZEROES_MAY_UNMAP = 56;

  Disk {
    if (serial.getBytes(StandardCharsets.US_ASCII).length > BlockDevice.SERIAL_BYTES) {
      throw new IllegalArgumentException("longer than 20 characters: " + serial);
    }
  }

  static Disk of(FileDescriptor image, boolean readOnly, String serial) {
    long size = image.size();
    // Behind the end there is nothing to give back, but the file system says whether it could.
    boolean discards = !readOnly && image.punchHole(size, BlockDevice.SECTOR_BYTES) == 0;
    return new Disk(size / BlockDevice.SECTOR_BYTES, readOnly, discards, serial);
  }

  long features() {
    return F_SEG_MAX
        | F_FLUSH
        | (readOnly ? F_READ_ONLY : 0)
        | (discards ? F_DISCARD | F_WRITE_ZEROES : 0);
  }

  /**
   * @param segments the most data segments of a request
   */
  byte[] configuration(int segments) {
    ByteBuffer bytes = ByteBuffer.allocate(CONFIG_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putLong(CAPACITY, sectors).putInt(SEG_MAX, segments);
    if (discards) {
      bytes
          .putInt(MAX_DISCARD_SECTORS, MAX_RANGE_SECTORS)
          .putInt(MAX_DISCARD_SEG, MAX_RANGES)
          .putInt(DISCARD_SECTOR_ALIGNMENT, DISCARD_ALIGNMENT)
          .putInt(MAX_WRITE_ZEROES_SECTORS, MAX_RANGE_SECTORS)
          .putInt(MAX_WRITE_ZEROES_SEG, MAX_RANGES)
          .put(WRITE_ZEROES_MAY_UNMAP, (byte) 1);
    }
    return bytes.array();
  }

  /** Whether a range is on the disk and made of whole sectors. */
  boolean contains(long sector, long bytes) {
    return bytes % BlockDevice.SECTOR_BYTES == 0
        && sector >= 0
        && sector <= sectors
        && bytes / BlockDevice.SECTOR_BYTES <= sectors - sector;
  }
}
