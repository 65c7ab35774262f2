// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Random;
import org.junit.jupiter.api.Test;

class FileNamesTest {
  @Test
  void textIsUtf8() {
    for (String name :
        new String[] {"", "plain", "\u00e9\u20ac", "\ud83d\ude00", "a\ud83d\ude00b"}) {
      assertArrayEquals(name.getBytes(UTF_8), FileNames.encode(name));
      assertEquals(name, FileNames.decode(name.getBytes(UTF_8)));
    }
  }

  @Test
  void bytesThatAreNoneAreLowSurrogates() {
    assertEquals("a\udcffb", FileNames.decode(new byte[] {'a', (byte) 0xFF, 'b'}));
    // UTF-8 that encodes a surrogate is none, and a sequence that is cut neither.
    assertEquals(
        "\udced\udcb3\udcbf", FileNames.decode(new byte[] {(byte) 0xED, (byte) 0xB3, (byte) 0xBF}));
    assertEquals("\udce2\udc82", FileNames.decode(new byte[] {(byte) 0xE2, (byte) 0x82}));
  }

  @Test
  void anyNameComesBack() {
    Random random = new Random(1);
    for (int i = 0; i < 20_000; i++) {
      byte[] name = new byte[random.nextInt(12)];
      random.nextBytes(name);
      assertArrayEquals(name, FileNames.encode(FileNames.decode(name)));
    }
  }

  @Test
  void halfAPairIsNoName() {
    for (String name : new String[] {"\ud800", "a\ud83d", "\udc00", "\udc7f", "\udd00"}) {
      assertThrows(IllegalArgumentException.class, () -> FileNames.encode(name));
    }
  }
}
