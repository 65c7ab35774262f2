// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.Allocation;
import java.time.Instant;
import java.time.InstantSource;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** The keyboard controller, the clock and the power registers. */
class LegacyDevicesTest {
  private final AtomicInteger resets = new AtomicInteger();
  private final I8042 keyboard = new I8042(resets::incrementAndGet);

  private int status() {
    return keyboard.read(4, 1) & 0xff;
  }

  private int data() {
    return keyboard.read(0, 1) & 0xff;
  }

  @Test
  void keyboardControllerPassesItsSelfTest() {
    assertEquals(0x10, status());
    keyboard.write(4, 1, 0xaa);
    assertEquals(0x1d, status(), "output full, system flag, command");
    assertEquals(0x55, data());
    assertEquals(0x1c, status());
  }

  @Test
  void keyboardControllerKeepsItsControlByte() {
    keyboard.write(4, 1, 0x60);
    keyboard.write(0, 1, 0x65);
    keyboard.write(4, 1, 0x20);
    assertEquals(0x65, data());
  }

  @Test
  void keyboardControllerAnswersWhatDriversProbe() {
    keyboard.write(4, 1, 0xab);
    assertEquals(0, data(), "keyboard interface test passed");
    keyboard.write(4, 1, 0xa9);
    assertEquals(1, data(), "no auxiliary device");
    keyboard.write(4, 1, 0xd3);
    keyboard.write(0, 1, 0x5a);
    assertEquals(0x5a, data(), "auxiliary loop");
    keyboard.write(4, 1, 0xd0);
    assertEquals(3, data(), "output port");
  }

  @Test
  void keyboardControllerNeverKeepsAWriterWaiting() {
    for (int command = 0; command < 0xf0; command++) {
      keyboard.write(4, 1, command);
      assertEquals(0, status() & 2, "input buffer full");
      keyboard.write(0, 1, 0xff);
      assertEquals(0, status() & 2, "input buffer full");
    }
    assertEquals(0, resets.get());
  }

  @Test
  void keyboardControllerResetsByPulsesOfTheResetLineOnly() {
    keyboard.write(4, 1, 0xff);
    assertEquals(0, resets.get());
    keyboard.write(4, 1, 0xfe);
    assertEquals(1, resets.get());
    keyboard.write(4, 1, 0xd1);
    keyboard.write(0, 1, 0x03);
    assertEquals(1, resets.get());
    keyboard.write(4, 1, 0xd1);
    keyboard.write(0, 1, 0x02);
    assertEquals(2, resets.get());
  }

  private static int rtc(Rtc rtc, int register) {
    rtc.write(0, 1, register);
    return rtc.read(1, 1) & 0xff;
  }

  @Test
  void clockTellsTheTimeInBcd() {
    AtomicReference<Instant> now = new AtomicReference<>(Instant.parse("2031-12-28T23:59:07Z"));
    Rtc rtc = new Rtc(now::get);
    assertEquals(0x07, rtc(rtc, 0));
    assertEquals(0x59, rtc(rtc, 2));
    assertEquals(0x23, rtc(rtc, 4));
    assertEquals(1, rtc(rtc, 6), "a Sunday");
    assertEquals(0x28, rtc(rtc, 7));
    assertEquals(0x12, rtc(rtc, 8));
    assertEquals(0x31, rtc(rtc, 9));
    assertEquals(0x20, rtc(rtc, 0x32));
    now.set(Instant.parse("2032-01-03T00:00:00Z"));
    assertEquals(0, rtc(rtc, 0));
    assertEquals(7, rtc(rtc, 6), "a Saturday");
    assertEquals(0x32, rtc(rtc, 9));
  }

  private static LocalDateTime time(Rtc rtc) {
    return LocalDateTime.of(
        bcd(rtc, 0x32) * 100 + bcd(rtc, 9),
        bcd(rtc, 8),
        bcd(rtc, 7),
        bcd(rtc, 4),
        bcd(rtc, 2),
        bcd(rtc, 0));
  }

  private static int bcd(Rtc rtc, int register) {
    int value = rtc(rtc, register);
    return (value >>> 4) * 10 + (value & 15);
  }

  @Test
  void clockKnowsTheGregorianCalendar() {
    AtomicReference<Instant> now = new AtomicReference<>();
    Rtc rtc = new Rtc(now::get);
    // Its 400 years, each day at another time.
    LocalDateTime end = LocalDateTime.of(2370, 1, 1, 0, 0);
    for (LocalDateTime time = LocalDateTime.of(1970, 1, 1, 0, 0);
        time.isBefore(end);
        time = time.plusSeconds(80_021)) {
      now.set(time.toInstant(ZoneOffset.UTC));
      assertEquals(time, time(rtc));
      assertEquals(time.getDayOfWeek().getValue() % 7 + 1, rtc(rtc, 6), time::toString);
    }
  }

  @Test
  void clockAllocatesNothingWhenASecondHasBegun() {
    AtomicLong millis = new AtomicLong();
    Rtc rtc =
        new Rtc(
            new InstantSource() {
              @Override
              public Instant instant() {
                return Instant.ofEpochMilli(millis());
              }

              @Override
              public long millis() {
                return millis.addAndGet(1000);
              }
            });
    assertEquals(1, rtc(rtc, 0));
    int reads = 10_000;
    long before = Allocation.ofThisThread();
    for (int i = 0; i < reads; i++) {
      int ignored = rtc.read(1, 1);
    }
    long allocated = Allocation.ofThisThread() - before;
    // The smallest object has 16 bytes.
    assertTrue(allocated < reads, () -> allocated + " bytes allocated");
  }

  @Test
  void clockTellsOneMomentFromItsSecondsOn() {
    AtomicReference<Instant> now = new AtomicReference<>(Instant.parse("2031-12-31T23:59:59.999Z"));
    Rtc rtc = new Rtc(now::get);
    assertEquals(0x59, rtc(rtc, 0));
    now.set(Instant.parse("2032-01-01T00:00:00.001Z"));
    assertEquals(0x59, rtc(rtc, 2));
    assertEquals(0x31, rtc(rtc, 9));
    assertEquals(0, rtc(rtc, 0), "a driver that compares reads all again");
    assertEquals(0, rtc(rtc, 2));
    assertEquals(0x32, rtc(rtc, 9));
    now.set(Instant.parse("2032-01-01T00:05:00Z"));
    assertEquals(5, rtc(rtc, 2), "to one that never reads the seconds, too");
  }

  @Test
  void clockIsNeverBeingUpdated() {
    Rtc rtc = new Rtc(() -> Instant.EPOCH);
    assertEquals(0x26, rtc(rtc, 10));
    assertEquals(0x02, rtc(rtc, 11), "24 hours, BCD");
    assertEquals(0, rtc(rtc, 12));
    assertEquals(0x80, rtc(rtc, 13));
    rtc.write(0, 1, 0x8a);
    assertEquals(0x26, rtc.read(1, 1) & 0xff, "the NMI bit is not part of the index");
  }

  @Test
  void clockRemembersOtherBytes() {
    Rtc rtc = new Rtc(() -> Instant.EPOCH);
    rtc.write(0, 1, 0x0f);
    rtc.write(1, 1, 0x0a);
    assertEquals(0x0a, rtc(rtc, 0x0f));
    assertEquals(-1, rtc.read(0, 1));
  }

  @Test
  void powerRegistersTakeTheirValuesOnly() {
    AtomicInteger powerOffs = new AtomicInteger();
    PowerControl power =
        new PowerControl(5, 1, powerOffs::incrementAndGet, resets::incrementAndGet);
    power.write(0, 1, 5 << 2);
    power.write(0, 1, 1 << 5 | 3 << 2);
    power.write(1, 1, 1 << 5 | 5 << 2);
    power.write(2, 1, 0);
    assertEquals(0, powerOffs.get() + resets.get());
    power.write(0, 1, 1 << 5 | 5 << 2);
    assertEquals(1, powerOffs.get());
    power.write(2, 1, 1);
    assertEquals(1, resets.get());
    assertEquals(0, power.read(1, 1) & 0xff, "never woken");
  }
}
