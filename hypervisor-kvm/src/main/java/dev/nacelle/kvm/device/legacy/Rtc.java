// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import dev.nacelle.kvm.device.PioDevice;
import java.time.InstantSource;

/**
 * The CMOS clock (Motorola MC146818A data sheet) at ports 0x70 and 0x71: UTC of the host, never
 * being updated when it is asked. Setting it, its alarm and its interrupts have no effect.
 *
 * <p>The registers tell one moment, that of the last read of the seconds or of register A, one of
 * which drivers read first; so no minute ends between them. For a driver that reads neither, the
 * moment is in this second or the one before.
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

  private static final int SECONDS_OF_DAY = 86_400;
  private static final int DAYS_OF_400_YEARS = 146_097;

  /** From 0000-03-01 to 1970-01-01. */
  private static final int DAYS_TO_EPOCH = 719_468;

  private final InstantSource clock;

  /** The time's registers hold the moment that is told; the others, what the guest has written. */
  private final byte[] registers = new byte[128];

  private int index;

  /** Of the moment that is told, since the epoch. */
  private long second = Long.MIN_VALUE;

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
    if (isTime(index) || index == REGISTER_A) {
      update(index == SECONDS || index == REGISTER_A);
    }
    int value =
        switch (index) {
          case REGISTER_A -> A;
          case REGISTER_B -> B;
          case REGISTER_C -> 0;
          case REGISTER_D -> D;
          default -> registers[index] & 0xff;
        };
    return value | -1 << 8;
  }

  private void update(boolean newMoment) {
    long now = Math.floorDiv(clock.millis(), 1000);
    if (now == second || (!newMoment && now == second + 1)) {
      return;
    }
    second = now;
    int secondOfDay = Math.floorMod(now, SECONDS_OF_DAY);
    registers[SECONDS] = bcd(secondOfDay % 60);
    registers[MINUTES] = bcd(secondOfDay / 60 % 60);
    registers[HOURS] = bcd(secondOfDay / 3600);
    setDate(Math.floorDiv(now, SECONDS_OF_DAY));
  }

  /**
   * By arithmetic, for java.time allocates: {@code civil_from_days} of H. Hinnant,
   * chrono-Compatible Low-Level Date Algorithms. Its years start in March, so that the leap day is
   * a year's last.
   */
  private void setDate(long epochDay) {
    long day = epochDay + DAYS_TO_EPOCH;
    long cycle = Math.floorDiv(day, DAYS_OF_400_YEARS);
    int dayOfCycle = Math.floorMod(day, DAYS_OF_400_YEARS);
    int yearOfCycle =
        (dayOfCycle - dayOfCycle / 1460 + dayOfCycle / 36_524 - dayOfCycle / 146_096) / 365;
    int dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100);
    int monthFromMarch = (5 * dayOfYear + 2) / 153;
    int month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
    int year = (int) (cycle * 400) + yearOfCycle + (month <= 2 ? 1 : 0);
    registers[DAY_OF_WEEK] = (byte) (Math.floorMod(epochDay + 4, 7) + 1); // Sunday is 1
    registers[DAY_OF_MONTH] = bcd(dayOfYear - (153 * monthFromMarch + 2) / 5 + 1);
    registers[MONTH] = bcd(month);
    registers[YEAR] = bcd(year % 100);
    registers[CENTURY] = bcd(year / 100);
  }

  @Override
  public synchronized void write(int offset, int size, int value) {
    if (offset == 0) {
      index = value & INDEX_MASK;
    } else if (!isTime(index)) {
      registers[index] = (byte) value;
    }
  }

  private static boolean isTime(int register) {
    return switch (register) {
      case SECONDS, MINUTES, HOURS, DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR, CENTURY -> true;
      default -> false;
    };
  }

  private static byte bcd(int value) {
    return (byte) (value / 10 << 4 | value % 10);
  }
}
