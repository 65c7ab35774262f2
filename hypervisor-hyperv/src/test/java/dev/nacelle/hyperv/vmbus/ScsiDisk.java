// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * A disk that takes SCSI commands (SPC-4, SBC-3): those that Linux's sd needs. It is as a virtual
 * disk of Hyper-V's, without what a fixed VHD has not: no UNMAP.
 */
final class ScsiDisk {
  /**
   * How a command ended.
   *
   * @param sense key, additional code and its qualifier of CHECK CONDITION; 0 when all is well
   * @param data what it read
   */
  record Outcome(int sense, byte[] data) {
    static Outcome of(byte[] data) {
      return new Outcome(0, data);
    }

    static Outcome failed(int sense) {
      return new Outcome(sense, new byte[0]);
    }
  }

  /** No unit here, and none can be (SPC-4 section 6.6.2). */
  static final int NO_UNIT = 0x7f;

  private static final int DISK = 0;

  private static final int INVALID_COMMAND = 0x05_20_00;
  private static final int INVALID_FIELD = 0x05_24_00;
  private static final int OUT_OF_RANGE = 0x05_21_00;
  private static final int WRITE_PROTECTED = 0x07_27_00;
  private static final int MEDIUM_ERROR = 0x03_11_00;

  private static final int TEST_UNIT_READY = 0x00;
  private static final int INQUIRY = 0x12;
  private static final int MODE_SENSE_6 = 0x1a;
  private static final int START_STOP_UNIT = 0x1b;
  private static final int READ_CAPACITY_10 = 0x25;
  private static final int READ_10 = 0x28;
  private static final int WRITE_10 = 0x2a;
  private static final int SYNCHRONIZE_CACHE_10 = 0x35;
  private static final int MODE_SENSE_10 = 0x5a;
  private static final int READ_16 = 0x88;
  private static final int WRITE_16 = 0x8a;
  private static final int SYNCHRONIZE_CACHE_16 = 0x91;
  private static final int SERVICE_ACTION_IN_16 = 0x9e;
  private static final int READ_CAPACITY_16 = 0x10;

  private static final int CACHING_PAGE = 8;
  private static final int ALL_PAGES = 0x3f;
  private static final int WRITE_CACHE_ENABLED = 1 << 2;
  private static final int WRITE_PROTECT = 1 << 7;

  private final FixedVhdFile file;

  ScsiDisk(FixedVhdFile file) {
    this.file = file;
  }

  /**
   * Does what a command says.
   *
   * @param command its descriptor block, of 16 bytes
   * @param written what comes with it
   */
  Outcome execute(ByteBuffer command, byte[] written) {
    int operation = command.get(0) & 0xff;
    try {
      return switch (operation) {
        case TEST_UNIT_READY, START_STOP_UNIT -> Outcome.of(new byte[0]);
        case INQUIRY -> inquiry(command);
        case READ_CAPACITY_10 -> {
          long last = Math.min(file.sectors() - 1, 0xffff_ffffL);
          ByteBuffer capacity = ByteBuffer.allocate(8);
          yield Outcome.of(capacity.putInt((int) last).putInt(FixedVhdFile.SECTOR).array());
        }
        case SERVICE_ACTION_IN_16 -> {
          if ((command.get(1) & 0x1f) != READ_CAPACITY_16) {
            yield Outcome.failed(INVALID_FIELD);
          }
          ByteBuffer capacity = ByteBuffer.allocate(32);
          yield Outcome.of(
              capacity.putLong(file.sectors() - 1).putInt(FixedVhdFile.SECTOR).array());
        }
        case MODE_SENSE_6 -> modeSense(command, 4);
        case MODE_SENSE_10 -> modeSense(command, 8);
        case READ_10, READ_16, WRITE_10, WRITE_16 -> {
          boolean shortOne = operation < READ_16;
          long sector = shortOne ? command.getInt(2) & 0xffff_ffffL : command.getLong(2);
          int count = shortOne ? command.getShort(7) & 0xffff : command.getInt(10);
          yield operation == READ_10 || operation == READ_16
              ? read(sector, count)
              : write(sector, count, written);
        }
        case SYNCHRONIZE_CACHE_10, SYNCHRONIZE_CACHE_16 -> {
          if (!file.readOnly()) {
            file.flush();
          }
          yield Outcome.of(new byte[0]);
        }
        default -> Outcome.failed(INVALID_COMMAND);
      };
    } catch (IOException e) {
      return Outcome.failed(MEDIUM_ERROR);
    }
  }

  private Outcome read(long sector, int count) throws IOException {
    if (isOutside(sector, count)) {
      return Outcome.failed(OUT_OF_RANGE);
    }
    return Outcome.of(file.read(sector * FixedVhdFile.SECTOR, count * FixedVhdFile.SECTOR));
  }

  private Outcome write(long sector, int count, byte[] content) throws IOException {
    if (file.readOnly()) {
      return Outcome.failed(WRITE_PROTECTED);
    }
    if (isOutside(sector, count)) {
      return Outcome.failed(OUT_OF_RANGE);
    }
    if (content.length != count * FixedVhdFile.SECTOR) {
      return Outcome.failed(INVALID_FIELD);
    }
    file.write(sector * FixedVhdFile.SECTOR, content);
    return Outcome.of(new byte[0]);
  }

  private boolean isOutside(long sector, int count) {
    return sector < 0 || count < 0 || sector > file.sectors() - count;
  }

  /** Standard data, or vital product data (SPC-4 section 7.8). */
  private static Outcome inquiry(ByteBuffer command) {
    if ((command.get(1) & 1) == 0) {
      return Outcome.of(inquiryData(DISK));
    }
    // The list of pages is the only one.
    return command.get(2) == 0
        ? Outcome.of(new byte[] {0, 0, 0, 1, 0})
        : Outcome.failed(INVALID_FIELD);
  }

  /**
   * Standard data (SPC-4 section 6.6.2).
   *
   * @param type of the unit; {@link #NO_UNIT} where there is none
   */
  static byte[] inquiryData(int type) {
    ByteBuffer data = ByteBuffer.allocate(36);
    // SPC-3, response format 2, 31 more bytes, commands are queued.
    data.put((byte) type).put(2, (byte) 5).put(3, (byte) 2).put(4, (byte) 31).put(7, (byte) 2);
    data.put(8, "Msft    Virtual Disk    1.0 ".getBytes(StandardCharsets.US_ASCII));
    return data.array();
  }

  /** A header of 4 or 8 bytes, and the page of caches (SBC-3 section 6.5.6). */
  private Outcome modeSense(ByteBuffer command, int header) {
    int page = command.get(2) & 0x3f;
    if (page != CACHING_PAGE && page != ALL_PAGES) {
      return Outcome.failed(INVALID_FIELD);
    }
    ByteBuffer data = ByteBuffer.allocate(header + 20);
    byte parameter = (byte) (file.readOnly() ? WRITE_PROTECT : 0);
    if (header == 4) {
      data.put(0, (byte) (data.capacity() - 1)).put(2, parameter);
    } else {
      data.putShort(0, (short) (data.capacity() - 2)).put(3, parameter);
    }
    data.put(header, (byte) CACHING_PAGE)
        .put(header + 1, (byte) 18)
        .put(header + 2, (byte) WRITE_CACHE_ENABLED);
    return Outcome.of(data.array());
  }
}
