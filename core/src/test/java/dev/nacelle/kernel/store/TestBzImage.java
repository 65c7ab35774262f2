// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** Wraps a compressed kernel into a bzImage, by the boot protocol, as the kernel's build does. */
final class TestBzImage {
  static final int XLOADFLAGS = 0x236;
  static final int VERSION = 0x206;
  static final int PAYLOAD_OFFSET = 0x248;
  static final int PAYLOAD_LENGTH = 0x24c;

  /**
   * Where {@link #of} puts the payload: after four setup sectors, the boot sector, and some code.
   */
  static final int PAYLOAD = 5 * 512 + 256;

  private TestBzImage() {}

  /**
   * Wraps compressed data.
   *
   * @param packed as the compressor wrote it
   * @param unpackedSize appended as the kernel's build does; -1 appends nothing, as for gzip
   */
  static byte[] of(byte[] packed, int unpackedSize) {
    int payload = packed.length + (unpackedSize < 0 ? 0 : 4);
    int kernel = (256 + payload + 15) / 16 * 16;
    ByteBuffer image = ByteBuffer.allocate(5 * 512 + kernel).order(ByteOrder.LITTLE_ENDIAN);
    image.put(0x1f1, (byte) 4).putInt(0x1f4, kernel / 16).putShort(0x1fe, (short) 0xaa55);
    image.putInt(0x202, 0x53726448).putShort(VERSION, (short) 0x020f);
    image.putShort(XLOADFLAGS, (short) 1);
    image.putInt(PAYLOAD_OFFSET, 256).putInt(PAYLOAD_LENGTH, payload);
    image.put(PAYLOAD, packed);
    if (unpackedSize >= 0) {
      image.putInt(PAYLOAD + packed.length, unpackedSize);
    }
    return image.array();
  }

  /** A copy with another 32-bit number at that offset. */
  static byte[] with(byte[] image, int offset, int value) {
    byte[] copy = Arrays.copyOf(image, image.length);
    ByteBuffer.wrap(copy).order(ByteOrder.LITTLE_ENDIAN).putInt(offset, value);
    return copy;
  }
}
