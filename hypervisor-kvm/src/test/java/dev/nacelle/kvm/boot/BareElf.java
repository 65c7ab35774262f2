// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;

/** ELF executables of one segment of code, and a note where they have a PVH entry. */
public final class BareElf {
  /** Where the code is in memory. */
  public static final int ADDRESS = 0x10_0000;

  static final int NOTE = 0x100;
  static final int CODE = 0x1000;

  private BareElf() {}

  /** An image that starts in 64-bit mode. */
  public static ByteBuffer longMode(String... code) {
    byte[] bytes = HexFormat.of().parseHex(String.join("", code).replace(" ", ""));
    ByteBuffer file = ByteBuffer.allocate(CODE + bytes.length).order(ByteOrder.LITTLE_ENDIAN);
    // System V ABI, chapter 4: 64 bits, little endian, version 1, executable, x86-64.
    file.put(0, new byte[] {0x7f, 'E', 'L', 'F', 2, 1, 1}).putShort(16, (short) 2);
    file.putShort(18, (short) 62).putLong(24, ADDRESS).putLong(32, 64);
    file.putShort(54, (short) 56).putShort(56, (short) 1);
    file.putInt(64, 1).putLong(72, CODE).putLong(88, ADDRESS);
    file.putLong(96, bytes.length).putLong(104, bytes.length);
    return file.put(CODE, bytes);
  }

  /** An image that starts in 32-bit mode, by the PVH boot protocol. */
  public static ByteBuffer pvh(String... code) {
    ByteBuffer file = longMode(code).putShort(56, (short) 2);
    file.putInt(120, 4).putLong(128, NOTE).putLong(152, 24).putLong(160, 24);
    file.putInt(NOTE, 4).putInt(NOTE + 4, 8).putInt(NOTE + 8, 18);
    return file.put(NOTE + 12, new byte[] {'X', 'e', 'n', 0}).putInt(NOTE + 16, ADDRESS);
  }
}
