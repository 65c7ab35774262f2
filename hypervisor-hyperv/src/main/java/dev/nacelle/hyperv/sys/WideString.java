// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static java.nio.charset.StandardCharsets.UTF_16LE;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import org.jspecify.annotations.Nullable;

/** Strings of Windows: UTF-16LE with a zero at the end. */
final class WideString {
  /**
   * How much of a string is read, in UTF-16 code units. What the service says may come from a
   * guest: a crash report holds its log. A document that was cut does not parse.
   */
  static final int MAX_LENGTH = 1 << 20;

  private WideString() {}

  /**
   * A string in memory of its own, which is freed with the object.
   *
   * @throws IllegalArgumentException when it holds a zero, which would cut it
   */
  static Memory of(String text) {
    if (text.indexOf('\0') >= 0) {
      throw new IllegalArgumentException("a string for Windows holds a zero");
    }
    byte[] bytes = text.getBytes(UTF_16LE);
    Memory memory = new Memory(bytes.length + 2L);
    memory.write(0, bytes, 0, bytes.length);
    memory.setShort(bytes.length, (short) 0);
    return memory;
  }

  /** As {@link #of}; null stays null. */
  static @Nullable Memory ofNullable(@Nullable String text) {
    return text == null ? null : of(text);
  }

  /** Copies a string, {@link #MAX_LENGTH} of it at most. */
  static String read(Pointer string) {
    StringBuilder text = new StringBuilder();
    // Safe: it ends in a zero. Not getChar, which reads a wchar_t.
    for (long at = 0; text.length() < MAX_LENGTH; at += 2) {
      short unit = string.getShort(at);
      if (unit == 0) {
        break;
      }
      text.append((char) unit);
    }
    return text.toString();
  }

  /** Where a function puts a string or handle; nothing is there at first. */
  static Memory out() {
    Memory out = new Memory(Native.POINTER_SIZE);
    out.clear();
    return out;
  }

  /**
   * Copies the string that a function left, and frees it. Functions may leave one whether they
   * succeed or fail: this is called either way.
   *
   * @return null where it left none
   */
  static @Nullable String take(Memory out) {
    Pointer string = out.getPointer(0);
    if (string == null) {
      return null;
    }
    out.clear();
    try {
      return read(string);
    } finally {
      Pointer ignored = Kernel32.LocalFree(string);
    }
  }
}
