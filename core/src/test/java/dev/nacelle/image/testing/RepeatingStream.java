// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.InputStream;
import java.util.Random;

/**
 * An endless stream of random bytes whose period is no multiple of a block, so that a wrong offset
 * shows. All are the same.
 */
public final class RepeatingStream extends InputStream {
  private final byte[] period = new byte[1_000_003];
  private int position;

  /** From the beginning. */
  public RepeatingStream() {
    new Random(5).nextBytes(period);
  }

  @Override
  public int read() {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
  }

  @Override
  public int read(byte[] bytes, int offset, int length) {
    int step = Math.min(length, period.length - position);
    System.arraycopy(period, position, bytes, offset, step);
    position = (position + step) % period.length;
    return step;
  }
}
