// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class SerialTest {
  private static final int DATA = 0;
  private static final int IER = 1;
  private static final int IIR = 2;
  private static final int FCR = 2;
  private static final int LCR = 3;
  private static final int MCR = 4;
  private static final int LSR = 5;
  private static final int MSR = 6;
  private static final int SCR = 7;

  private static final int OUT2 = 8;
  private static final int LOOP = 0x10;

  private final StringBuilder sent = new StringBuilder();
  private final AtomicInteger interrupts = new AtomicInteger();
  private final Serial serial =
      new Serial(value -> sent.append((char) value), interrupts::incrementAndGet);

  private int read(int register) {
    return serial.read(register, 1) & 0xff;
  }

  private void write(int register, int value) {
    serial.write(register, 1, value);
  }

  @Test
  void sendsAtOnce() {
    write(DATA, 'O');
    assertEquals(0x60, read(LSR));
    write(DATA, 'K');
    assertEquals("OK", sent.toString());
  }

  @Test
  void takesTheLowByteOfAWideAccess() {
    serial.write(DATA, 2, 0x5a41);
    assertEquals("A", sent.toString());
    assertEquals(0xffff_ff60, serial.read(LSR, 4));
  }

  @Test
  void keepsTheDivisorApartFromData() {
    write(LCR, 0x83);
    write(DATA, 0x01);
    write(IER, 0x02);
    assertEquals(0x01, read(DATA));
    assertEquals(0x02, read(IER));
    write(LCR, 0x03);
    assertEquals(0, read(IER));
    assertEquals(3, read(LCR));
    assertEquals("", sent.toString());
  }

  @Test
  void isFoundByAProbe() {
    // What Linux does (drivers/tty/serial/8250/8250_port.c, autoconfig).
    write(SCR, 0xa5);
    assertEquals(0xa5, read(SCR));
    write(IER, 0x0f);
    assertEquals(0x0f, read(IER));
    write(IER, 0);
    write(MCR, LOOP | 0x0a);
    assertEquals(0x90, read(MSR) & 0xf0);
    write(MCR, 0);
    assertEquals(0xb0, read(MSR));
    write(FCR, 1);
    assertEquals(0xc0, read(IIR) & 0xc0);
    write(FCR, 0);
    assertEquals(0, read(IIR) & 0xc0);
  }

  @Test
  void ignoresWritesToStatusRegisters() {
    write(LSR, 0);
    write(MSR, 0);
    assertEquals(0x60, read(LSR));
    assertEquals(0xb0, read(MSR));
  }

  @Test
  void interruptsWhenTheTransmitterIsEmpty() {
    write(MCR, OUT2);
    assertEquals(0, interrupts.get());
    write(IER, 2);
    assertEquals(1, interrupts.get());
    assertEquals(2, read(IIR));
    assertEquals(1, read(IIR), "reading it clears it");
    write(DATA, 'A');
    assertEquals(2, interrupts.get());
    assertEquals(2, read(IIR));
    write(IER, 0);
    write(IER, 2);
    assertEquals(3, interrupts.get());
  }

  @Test
  void interruptsAgainForEachByteWhileTheFirstIsPending() {
    write(MCR, OUT2);
    write(IER, 2);
    write(DATA, 'A');
    assertEquals(2, read(IIR));
    write(DATA, 'B');
    assertEquals(2, interrupts.get());
  }

  /** The pin stays high, which an edge-triggered controller cannot tell apart; drivers look on. */
  @Test
  void makesNoEdgeForASecondCause() {
    write(MCR, OUT2);
    write(IER, 3);
    assertEquals(1, interrupts.get());
    serial.receive((byte) 'x');
    assertEquals(1, interrupts.get());
    assertEquals(4, read(IIR));
    assertEquals('x', read(DATA));
    assertEquals(2, read(IIR));
    assertEquals(1, read(IIR));
    serial.receive((byte) 'y');
    assertEquals(2, interrupts.get());
  }

  /** Linux: drivers/tty/serial/8250/8250_port.c, serial8250_handle_irq and tx_chars. */
  @Test
  void makesOneEdgeForAFifoFullOfBytes() {
    write(FCR, 1);
    write(MCR, OUT2);
    write(IER, 2);
    for (int batch = 1; batch <= 10; batch++) {
      assertEquals(batch, interrupts.get());
      assertEquals(2, read(IIR) & 0xf);
      for (int i = 0; i < 16; i++) {
        write(DATA, 'a');
      }
    }
  }

  @Test
  void doesNotInterruptUnlessConnected() {
    write(IER, 2);
    assertEquals(2, read(IIR));
    assertEquals(0, interrupts.get());
    write(DATA, 'A');
    write(MCR, OUT2);
    assertEquals(1, interrupts.get());
  }

  @Test
  void interruptsForReceivedBytes() {
    write(MCR, OUT2);
    write(IER, 1);
    serial.receive((byte) 'x');
    assertEquals(1, interrupts.get());
    assertEquals(4, read(IIR));
    assertEquals(0x61, read(LSR));
    assertEquals('x', read(DATA));
    assertEquals(1, read(IIR));
    assertEquals(0x60, read(LSR));
  }

  @Test
  void receivesIntoAFifoOfSixteen() {
    write(FCR, 1);
    write(MCR, OUT2);
    write(IER, 5);
    for (int i = 0; i < 17; i++) {
      serial.receive((byte) i);
    }
    assertEquals(6, read(IIR) & 0xf, "overrun has the highest priority");
    assertEquals(0x63, read(LSR));
    assertEquals(0x61, read(LSR), "reading clears the overrun");
    assertEquals(4, read(IIR) & 0xf);
    for (int i = 0; i < 16; i++) {
      assertEquals(i, read(DATA));
    }
    assertEquals(0x60, read(LSR));
  }

  @Test
  void receivesOneByteWithoutFifo() {
    serial.receive((byte) 1);
    serial.receive((byte) 2);
    assertEquals(0x63, read(LSR));
    assertEquals(1, read(DATA));
    assertEquals(0x60, read(LSR));
  }

  @Test
  void resetsItsFifo() {
    write(FCR, 1);
    serial.receive((byte) 1);
    write(FCR, 3);
    assertEquals(0x60, read(LSR));
  }

  @Test
  void loopsBackWithoutSending() {
    write(FCR, 1);
    write(MCR, LOOP);
    write(DATA, 'L');
    assertEquals(0x61, read(LSR));
    assertEquals('L', read(DATA));
    assertEquals("", sent.toString());
  }
}
