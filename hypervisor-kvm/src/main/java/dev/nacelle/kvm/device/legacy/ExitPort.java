// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.legacy;

import dev.nacelle.kvm.device.PioDevice;
import java.util.function.IntConsumer;

/**
 * A port that ends the machine with what is written to it, as QEMU's isa-debug-exit does, but with
 * that value itself as the status. Reads answer all ones.
 */
public final class ExitPort implements PioDevice {
  public static final int PORTS = 4;

  private final IntConsumer onExit;

  /**
   * @param onExit gets the status: as many of its low bytes as were written, the others zero
   */
  public ExitPort(IntConsumer onExit) {
    this.onExit = onExit;
  }

  @Override
  public int read(int offset, int size) {
    return -1;
  }

  @Override
  public void write(int offset, int size, int value) {
    if (offset == 0) {
      onExit.accept(value & (int) ((1L << 8 * size) - 1));
    }
  }
}
