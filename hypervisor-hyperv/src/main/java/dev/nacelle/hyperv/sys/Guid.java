// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.UUID;

/**
 * GUIDs as Windows has them in memory (guiddef.h): a number of 32 bits and two of 16, little
 * endian, then 8 bytes. As text they are what a UUID is.
 */
public final class Guid {
  static final int SIZE = 16;

  private Guid() {}

  /** Puts one at a position of a buffer, whatever the buffer's order. */
  public static void put(ByteBuffer out, int at, UUID guid) {
    long high = guid.getMostSignificantBits();
    ByteBuffer bytes = out.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    bytes.putInt(at, (int) (high >>> 32));
    bytes.putShort(at + 4, (short) (high >>> 16));
    bytes.putShort(at + 6, (short) high);
    bytes.order(ByteOrder.BIG_ENDIAN).putLong(at + 8, guid.getLeastSignificantBits());
  }

  /** The one at a position of a buffer. */
  static UUID get(ByteBuffer in, int at) {
    ByteBuffer bytes = in.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    long high =
        (long) bytes.getInt(at) << 32
            | (bytes.getShort(at + 4) & 0xffffL) << 16
            | bytes.getShort(at + 6) & 0xffffL;
    return new UUID(high, bytes.order(ByteOrder.BIG_ENDIAN).getLong(at + 8));
  }
}
