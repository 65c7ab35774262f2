// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.PioDevice;

/**
 * A serial port: UART 16550A (National Semiconductor PC16550D data sheet, section 8). Its line is
 * infinitely fast: what is sent is gone at once.
 */
public final class Serial implements PioDevice {
  /** The number of ports it takes. */
  public static final int PORTS = 8;

  // Registers; with DLAB set, 0 and 1 are the divisor latch.
  private static final int DATA = 0;
  private static final int IER = 1;
  private static final int IIR_FCR = 2;
  private static final int LCR = 3;
  private static final int MCR = 4;
  private static final int LSR = 5;
  private static final int MSR = 6;
  private static final int SCR = 7;

  private static final int IER_RECEIVED = 1;
  private static final int IER_TRANSMITTER_EMPTY = 2;
  private static final int IER_LINE_STATUS = 4;
  private static final int IER_MASK = 0xf;

  private static final int IIR_NONE = 1;
  private static final int IIR_TRANSMITTER_EMPTY = 2;
  private static final int IIR_RECEIVED = 4;
  private static final int IIR_LINE_STATUS = 6;
  private static final int IIR_FIFOS_ENABLED = 0xc0;

  private static final int FCR_ENABLE = 1;
  private static final int FCR_RESET_RECEIVER = 2;

  private static final int LCR_DLAB = 0x80;

  private static final int MCR_OUT2 = 8;
  private static final int MCR_LOOP = 0x10;
  private static final int MCR_MASK = 0x1f;

  private static final int LSR_DATA_READY = 1;
  private static final int LSR_OVERRUN = 2;
  private static final int LSR_TRANSMITTER_EMPTY = 0x60;

  /** Clear to send, data set ready, carrier: somebody is there. */
  private static final int MSR_CONNECTED = 0xb0;

  private static final int FIFO = 16;

  /** Where sent bytes go. */
  @FunctionalInterface
  public interface Output {
    /** Takes one byte; called with the port's lock held. */
    void write(byte value);
  }

  private final Output output;
  private final InterruptLine interrupt;

  private int ier;
  private int fcr;
  private int lcr;
  private int mcr;
  private int scr;
  private int divisor = 12; // 9600 baud
  private boolean transmitterEmptied;
  private boolean overrun;
  private final byte[] received = new byte[FIFO];
  private int receivedFirst;
  private int receivedCount;

  /** The level of the UART's interrupt pin. */
  private boolean pending;

  /**
   * @param output where sent bytes go
   * @param interrupt raised when a cause appears
   */
  public Serial(Output output, InterruptLine interrupt) {
    this.output = output;
    this.interrupt = interrupt;
  }

  @Override
  public synchronized int read(int offset, int size) {
    int value =
        switch (offset) {
          case DATA -> dlab() ? divisor & 0xff : takeReceived();
          case IER -> dlab() ? divisor >>> 8 : ier;
          case IIR_FCR -> takeCause();
          case LCR -> lcr;
          case MCR -> mcr;
          case LSR -> takeLineStatus();
          case MSR -> modemStatus();
          case SCR -> scr;
          default -> 0xff;
        };
    updateInterrupt();
    // The bus is 8 bits wide.
    return value | -1 << 8;
  }

  @Override
  public synchronized void write(int offset, int size, int wide) {
    int value = wide & 0xff;
    switch (offset) {
      case DATA -> {
        if (dlab()) {
          divisor = divisor & 0xff00 | value;
        } else {
          send((byte) value);
        }
      }
      case IER -> {
        if (dlab()) {
          divisor = divisor & 0xff | value << 8;
        } else {
          // Enabling the interrupt while the transmitter is empty, as it always is, causes it.
          transmitterEmptied |= (value & ~ier & IER_TRANSMITTER_EMPTY) != 0;
          ier = value & IER_MASK;
        }
      }
      case IIR_FCR -> {
        // Changing the enable bit resets the FIFOs, too.
        if ((value & FCR_RESET_RECEIVER) != 0 || ((value ^ fcr) & FCR_ENABLE) != 0) {
          receivedCount = 0;
        }
        fcr = value & FCR_ENABLE;
      }
      case LCR -> lcr = value;
      case MCR -> mcr = value & MCR_MASK;
      case SCR -> scr = value;
      default -> {
        // Line and modem status are read only.
      }
    }
    updateInterrupt();
  }

  /** A byte arrives on the line. With no room for it, an overrun is what the guest sees. */
  public synchronized void receive(byte value) {
    accept(value);
    updateInterrupt();
  }

  private void accept(byte value) {
    int room = (fcr & FCR_ENABLE) != 0 ? FIFO : 1;
    if (receivedCount >= room) {
      overrun = true;
    } else {
      received[(receivedFirst + receivedCount) % FIFO] = value;
      receivedCount++;
    }
  }

  private void send(byte value) {
    if ((mcr & MCR_LOOP) != 0) {
      accept(value);
    } else {
      output.write(value);
    }
    transmitterEmptied = true;
  }

  private boolean dlab() {
    return (lcr & LCR_DLAB) != 0;
  }

  private int takeReceived() {
    if (receivedCount == 0) {
      return 0;
    }
    int value = received[receivedFirst] & 0xff;
    receivedFirst = (receivedFirst + 1) % FIFO;
    receivedCount--;
    return value;
  }

  private int takeLineStatus() {
    int value =
        LSR_TRANSMITTER_EMPTY
            | (receivedCount > 0 ? LSR_DATA_READY : 0)
            | (overrun ? LSR_OVERRUN : 0);
    overrun = false;
    return value;
  }

  /** In loopback, the four outputs are the four inputs (section 8.6.7). */
  private int modemStatus() {
    if ((mcr & MCR_LOOP) == 0) {
      return MSR_CONNECTED;
    }
    return (mcr & 0b1100) << 4 | (mcr & 0b0010) << 3 | (mcr & 0b0001) << 5;
  }

  /** The pending cause of the highest priority (table III). */
  private int cause() {
    if (overrun && (ier & IER_LINE_STATUS) != 0) {
      return IIR_LINE_STATUS;
    } else if (receivedCount > 0 && (ier & IER_RECEIVED) != 0) {
      return IIR_RECEIVED;
    } else if (transmitterEmptied && (ier & IER_TRANSMITTER_EMPTY) != 0) {
      return IIR_TRANSMITTER_EMPTY;
    }
    return IIR_NONE;
  }

  private int takeCause() {
    int cause = cause();
    if (cause == IIR_TRANSMITTER_EMPTY) {
      transmitterEmptied = false;
    }
    return cause | ((fcr & FCR_ENABLE) != 0 ? IIR_FIFOS_ENABLED : 0);
  }

  /**
   * The pin INTR is high while there is a cause, and OUT2 connects it to the PC's (in loopback it
   * does not). Another cause beside the first makes no edge: drivers read causes until there are
   * none (Linux: {@code serial8250_interrupt}).
   */
  private void updateInterrupt() {
    boolean before = pending;
    pending = (mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && cause() != IIR_NONE;
    if (pending && !before) {
      interrupt.raise();
    }
  }
}
