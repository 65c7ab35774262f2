// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

import java.time.InstantSource;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;

/**
 * The CMOS clock (Motorola MC146818A data sheet) at ports 0x70 and 0x71: UTC of the host, never
 * being updated when it is asked. Setting it, its alarm and its interrupts have no effect.
 */
public final class Rtc implements PioDevice {
  public static final int FIRST_PORT = 0x70;
  public static final int PORTS = 2;

  private static final int SECONDS = 0;
  private static final int MINUTES = 2;
  private static final int HOURS = 4;
  private static final int DAY_OF_WEEK = 6;
  private static final int DAY_OF_MONTH = 7;
  private static final int MONTH = 8;
  private static final int YEAR = 9;
  private static final int REGISTER_A = 10;
  private static final int REGISTER_B = 11;
  private static final int REGISTER_C = 12;
  private static final int REGISTER_D = 13;

  /** Not of the chip, but where PCs keep it. */
  private static final int CENTURY = 0x32;

  /** 32.768 kHz, 1024 Hz; update in progress (bit 7) never. */
  private static final int A = 0x26;

  /** 24 hours, BCD. */
  private static final int B = 0x02;

  /** The battery is good. */
  private static final int D = 0x80;

  /** Bit 7 of the index port is the NMI mask of PCs. */
  private static final int INDEX_MASK = 0x7f;

  private final InstantSource clock;
  private final byte[] memory = new byte[128];
  private int index;

  /**
   * @param clock tells the time
   */
  public Rtc(InstantSource clock) {
    this.clock = clock;
  }

  @Override
  public synchronized int read(int offset, int size) {
    if (offset == 0) {
      return -1; // the index port is write only
    }
    ZonedDateTime now = clock.instant().atZone(ZoneOffset.UTC);
    int value =
        switch (index) {
          case SECONDS -> bcd(now.getSecond());
          case MINUTES -> bcd(now.getMinute());
          case HOURS -> bcd(now.getHour());
          case DAY_OF_WEEK -> now.getDayOfWeek().getValue() % 7 + 1; // Sunday is 1
          case DAY_OF_MONTH -> bcd(now.getDayOfMonth());
          case MONTH -> bcd(now.getMonthValue());
          case YEAR -> bcd(now.getYear() % 100);
          case CENTURY -> bcd(now.getYear() / 100);
          case REGISTER_A -> A;
          case REGISTER_B -> B;
          case REGISTER_C -> 0;
          case REGISTER_D -> D;
          default -> memory[index] & 0xff;
        };
    return value | -1 << 8;
  }

  @Override
  public synchronized void write(int offset, int size, int value) {
    if (offset == 0) {
      index = value & INDEX_MASK;
    } else {
      memory[index] = (byte) value;
    }
  }

  private static int bcd(int value) {
    return value / 10 << 4 | value % 10;
  }
}
