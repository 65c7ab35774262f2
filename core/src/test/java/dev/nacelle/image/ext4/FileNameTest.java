// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FileNameTest {
  @ParameterizedTest
  @ValueSource(strings = {"", ".", "..", "a/b", "/", "a\0"})
  void whatIsNoNameIsRefused(String name) {
    assertThrows(IllegalArgumentException.class, () -> FileName.of(name));
  }

  @Test
  void hasAtMost255Bytes() {
    assertEquals(255, FileName.of("x".repeat(255)).length());
    assertThrows(IllegalArgumentException.class, () -> FileName.of("x".repeat(256)));
    assertThrows(IllegalArgumentException.class, () -> FileName.of("ü".repeat(128)));
  }

  @Test
  void keepsBytesThatAreNoText() {
    byte[] bytes = {(byte) 0xff, 'a', (byte) 0xc3};

    assertArrayEquals(bytes, FileName.of(bytes).toBytes());
    assertEquals(FileName.of(bytes), FileName.of(bytes));
  }

  @Test
  void isOrderedByUnsignedBytes() {
    assertTrue(FileName.of(new byte[] {(byte) 0xff}).compareTo(FileName.of("a")) > 0);
  }

  @Test
  void messagesShowTextAndEscapeTheRest() {
    assertEquals("grün", FileName.of("grün").toString());
    assertEquals(
        "a\\xff\\x1b[2J\\x0a", FileName.printable(bytes(0x61, 0xff, 0x1b, '[', '2', 'J', 10)));
    assertEquals(
        "x\\xe2\\x80\\xaey",
        FileName.printable("x\u202ey".getBytes(java.nio.charset.StandardCharsets.UTF_8)));
    assertEquals("\\xc3", FileName.printable(bytes(0xc3)));
    assertEquals("😀", FileName.of("😀").toString());
  }

  private static byte[] bytes(int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return bytes;
  }
}
