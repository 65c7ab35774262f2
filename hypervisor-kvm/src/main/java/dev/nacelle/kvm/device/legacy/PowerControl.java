// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import dev.nacelle.kvm.device.PioDevice;

/**
 * The registers that a hardware-reduced ACPI machine powers off and resets with (ACPI 6.5 sections
 * 4.8.3.7 and 4.8.3.6): sleep control, sleep status, reset.
 */
public final class PowerControl implements PioDevice {
  public static final int PORTS = 3;

  private static final int SLEEP_CONTROL = 0;
  private static final int SLEEP_STATUS = 1;
  private static final int RESET = 2;

  /** SLP_EN and SLP_TYP of the sleep control register (table 4.19). */
  private static final int SLEEP_ENABLE = 1 << 5;

  private static final int SLEEP_TYPE_SHIFT = 2;
  private static final int SLEEP_TYPE_MASK = 7;

  private final int softOff;
  private final int resetValue;
  private final Runnable onPowerOff;
  private final Runnable onReset;

  /**
   * @param softOff the sleep type that the DSDT's _S5 tells
   * @param resetValue the value that the FADT tells
   */
  public PowerControl(int softOff, int resetValue, Runnable onPowerOff, Runnable onReset) {
    this.softOff = softOff;
    this.resetValue = resetValue;
    this.onPowerOff = onPowerOff;
    this.onReset = onReset;
  }

  @Override
  public int read(int offset, int size) {
    // The machine never woke from a sleep.
    return offset == SLEEP_STATUS || offset == SLEEP_CONTROL ? -1 << 8 : -1;
  }

  @Override
  public void write(int offset, int size, int wide) {
    int value = wide & 0xff;
    if (offset == SLEEP_CONTROL) {
      if ((value & SLEEP_ENABLE) != 0
          && (value >>> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == softOff) {
        onPowerOff.run();
      }
    } else if (offset == RESET && value == resetValue) {
      onReset.run();
    }
  }
}
