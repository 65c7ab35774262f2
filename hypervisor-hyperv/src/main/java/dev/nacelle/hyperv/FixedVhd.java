// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * Raw images as virtual disks of Hyper-V: a fixed VHD is a raw image with a footer of 512 bytes
 * (Virtual Hard Disk Image Format Specification, version 1.0).
 *
 * <p>So nothing is copied: the footer is put behind the image where it lies, once, and stays. Who
 * reads the file as ext4 does not see it, for the filesystem ends before it (its superblock says
 * where), nor does the guest, whose disk is what is before the footer. A second file with shared
 * blocks would leave the first as it is, but NTFS has none; a copy would cost the image's size
 * again.
 *
 * <p>That the footer is there is told by the file's size, never by its bytes, which an image's
 * author may have chosen: images are whole blocks of 4096 bytes, of which a footer is an eighth.
 * The footer of a file is always the same, so processes that put it there at the same time do no
 * harm, and what a crash left of it, of whatever size, is written over.
 *
 * <p>Windows tells a disk's format from the name's extension. {@link #link} gives the file such a
 * name for as long as a machine has it.
 */
final class FixedVhd {
  /** Bytes of the footer. */
  static final int FOOTER = 512;

  /** What a raw image is a multiple of. */
  static final int BLOCK = 4096;

  /** 2040 GiB, the most that a VHD has. */
  static final long MAX_SIZE = 2040L << 30;

  private static final int SECTOR = 512;

  // Places in the footer, whose numbers are big endian
  private static final int FEATURES = 8;
  private static final int VERSION = 12;
  private static final int DATA_OFFSET = 16;
  private static final int TIMESTAMP = 24;
  private static final int CREATOR = 28;
  private static final int CREATOR_VERSION = 32;
  private static final int CREATOR_SYSTEM = 36;
  private static final int ORIGINAL_SIZE = 40;
  private static final int CURRENT_SIZE = 48;
  private static final int GEOMETRY = 56;
  private static final int TYPE = 60;
  private static final int CHECKSUM = 64;
  private static final int UNIQUE_ID = 68;

  private static final int RESERVED_FEATURE = 2;
  private static final int VERSION_1_0 = 0x10000;
  private static final int WINDOWS_10 = 0xa_0000;
  private static final int FIXED = 2;

  private FixedVhd() {}

  /**
   * Makes an image a fixed VHD, unless it is one.
   *
   * @param image of whole blocks, with a footer or without; needs to be writable only if without
   * @throws HypervisorException when it is no such image
   * @throws IOException when it cannot be read or, without a footer, be written to
   */
  static void append(Path image) throws IOException {
    long size = Files.size(image);
    long raw = size / BLOCK * BLOCK;
    if (raw == 0 || raw > MAX_SIZE || size > raw + FOOTER) {
      throw new HypervisorException(
          Stage.CREATE,
          "The disk " + image + " has " + size + " bytes, which no VHD of Nacelle's has",
          "Use a raw image of whole blocks of " + BLOCK + " bytes, at most 2040 GiB.",
          null);
    }
    ByteBuffer footer = footer(raw, image.getFileName().toString());
    if (size == raw + FOOTER && footer.equals(footerOf(image, raw))) {
      return;
    }
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.WRITE)) {
      while (footer.hasRemaining()) {
        int ignored = file.write(footer, raw + footer.position());
      }
    }
  }

  private static ByteBuffer footerOf(Path image, long at) throws IOException {
    ByteBuffer footer = ByteBuffer.allocate(FOOTER);
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.READ)) {
      while (footer.hasRemaining() && file.read(footer, at + footer.position()) >= 0) {
        // as much as is there
      }
    }
    return footer.flip();
  }

  /**
   * Gives a VHD a name that Windows knows it by: another name of the same file, on the same volume.
   *
   * @param name where; ends in .vhd
   */
  static void link(Path image, Path name) throws IOException {
    if (!name.toString().endsWith(MachineDocument.VHD)) {
      throw new IllegalArgumentException("no name of a VHD: " + name);
    }
    Path ignored = Files.createLink(name, image);
  }

  /**
   * Makes a footer.
   *
   * @param size of the image in bytes
   * @param name what its unique ID is made from, for it to be always the same: only differencing
   *     disks look for one by it
   */
  static ByteBuffer footer(long size, String name) {
    ByteBuffer footer = ByteBuffer.allocate(FOOTER);
    footer.put("conectix".getBytes(US_ASCII)).rewind();
    footer.putInt(FEATURES, RESERVED_FEATURE);
    footer.putInt(VERSION, VERSION_1_0);
    footer.putLong(DATA_OFFSET, -1);
    footer.putInt(TIMESTAMP, 0);
    // As if Windows had made it: of disks whose creator they do not know, readers take the size
    // from the geometry, which is rounded (QEMU: block/vpc.c).
    put(footer, CREATOR, "win ");
    footer.putInt(CREATOR_VERSION, WINDOWS_10);
    put(footer, CREATOR_SYSTEM, "Wi2k");
    footer.putLong(ORIGINAL_SIZE, size);
    footer.putLong(CURRENT_SIZE, size);
    footer.putInt(GEOMETRY, geometry(size / SECTOR));
    footer.putInt(TYPE, FIXED);
    UUID id = UUID.nameUUIDFromBytes((name + " " + size).getBytes(UTF_8));
    footer.putLong(UNIQUE_ID, id.getMostSignificantBits());
    footer.putLong(UNIQUE_ID + Long.BYTES, id.getLeastSignificantBits());
    int sum = 0;
    for (byte b : footer.array()) {
      sum += b & 0xff;
    }
    footer.putInt(CHECKSUM, ~sum);
    return footer;
  }

  private static void put(ByteBuffer footer, int at, String text) {
    footer.put(at, text.getBytes(US_ASCII));
  }

  /** The appendix of the specification: cylinders, heads and sectors, of 16, 8 and 8 bits. */
  private static int geometry(long sectors) {
    long total = Math.min(sectors, 65535L * 16 * 255);
    long perTrack;
    long heads;
    long tracks;
    if (total >= 65535L * 16 * 63) {
      perTrack = 255;
      heads = 16;
      tracks = total / perTrack;
    } else {
      perTrack = 17;
      tracks = total / perTrack;
      heads = Math.max(4, (tracks + 1023) / 1024);
      if (tracks >= heads * 1024 || heads > 16) {
        perTrack = 31;
        heads = 16;
        tracks = total / perTrack;
      }
      if (tracks >= heads * 1024) {
        perTrack = 63;
        heads = 16;
        tracks = total / perTrack;
      }
    }
    return (int) (tracks / heads << 16 | heads << 8 | perTrack);
  }
}
