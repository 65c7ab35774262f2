// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import dev.nacelle.kvm.device.PioDevice;

/**
 * The keyboard controller (Intel 8042; IBM PS/2 technical reference) without a keyboard: it answers
 * what is asked of the controller itself, so that no kernel waits in vain, and resets the machine.
 */
public final class I8042 implements PioDevice {
  /** Data and command port have three between them, two of which are others'. */
  public static final int FIRST_PORT = 0x60;

  public static final int COMMAND_OFFSET = 4;

  private static final int STATUS_OUTPUT_FULL = 1;
  private static final int STATUS_SYSTEM = 4;
  private static final int STATUS_COMMAND = 8;
  private static final int STATUS_UNLOCKED = 0x10;

  private static final int READ_CONTROL = 0x20;
  private static final int WRITE_CONTROL = 0x60;
  private static final int TEST_AUX = 0xa9;
  private static final int SELF_TEST = 0xaa;
  private static final int TEST_KEYBOARD = 0xab;
  private static final int READ_OUTPUT_PORT = 0xd0;
  private static final int WRITE_OUTPUT_PORT = 0xd1;
  private static final int WRITE_KEYBOARD_BUFFER = 0xd2;
  private static final int WRITE_AUX_BUFFER = 0xd3;
  private static final int PULSE = 0xf0;

  private static final int SELF_TEST_PASSED = 0x55;
  private static final int TEST_PASSED = 0;

  /** A device's interface test: clock line stuck low, so nothing is there. */
  private static final int NO_DEVICE = 1;

  /** Bit 0 of the output port, and of what is pulsed: the processor's reset line, active low. */
  private static final int RESET = 1;

  /** The output port at rest: no reset, address line 20 on. */
  private static final int OUTPUT_PORT = 3;

  private final Runnable onReset;
  private int control;
  private int status = STATUS_UNLOCKED;
  private int output;
  private int pending;

  /**
   * @param onReset called when the guest pulls the processor's reset line
   */
  public I8042(Runnable onReset) {
    this.onReset = onReset;
  }

  @Override
  public synchronized int read(int offset, int size) {
    if (offset == COMMAND_OFFSET) {
      return status | -1 << 8;
    } else if (offset == 0) {
      status &= ~STATUS_OUTPUT_FULL;
      return output | -1 << 8;
    }
    return -1;
  }

  @Override
  public synchronized void write(int offset, int size, int wide) {
    int value = wide & 0xff;
    if (offset == COMMAND_OFFSET) {
      status |= STATUS_COMMAND;
      command(value);
    } else if (offset == 0) {
      status &= ~STATUS_COMMAND;
      data(value);
    }
  }

  private void command(int command) {
    pending = 0;
    switch (command) {
      case READ_CONTROL -> answer(control);
      case SELF_TEST -> {
        status |= STATUS_SYSTEM;
        answer(SELF_TEST_PASSED);
      }
      case TEST_KEYBOARD -> answer(TEST_PASSED);
      case TEST_AUX -> answer(NO_DEVICE);
      case READ_OUTPUT_PORT -> answer(OUTPUT_PORT);
      case WRITE_CONTROL, WRITE_OUTPUT_PORT, WRITE_KEYBOARD_BUFFER, WRITE_AUX_BUFFER ->
          pending = command;
      default -> {
        if ((command & PULSE) == PULSE && (command & RESET) == 0) {
          onReset.run();
        }
      }
    }
  }

  private void data(int value) {
    int command = pending;
    pending = 0;
    switch (command) {
      case WRITE_CONTROL -> control = value;
      case WRITE_KEYBOARD_BUFFER, WRITE_AUX_BUFFER -> answer(value);
      case WRITE_OUTPUT_PORT -> {
        if ((value & RESET) == 0) {
          onReset.run();
        }
      }
      default -> {
        // For a keyboard that is not there.
      }
    }
  }

  private void answer(int value) {
    output = value;
    status |= STATUS_OUTPUT_FULL;
  }
}
