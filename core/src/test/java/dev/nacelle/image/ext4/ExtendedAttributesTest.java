// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ExtendedAttributesTest {
  @ParameterizedTest
  @ValueSource(strings = {"user.", "plain", "system.other", "com.apple.x", "posix_acl_access", ""})
  void namesOutsideTheNamespacesOfLinuxAreRefused(String name) {
    assertFalse(ExtendedAttributes.isSupported(name));
    assertThrows(
        IllegalArgumentException.class, () -> ExtendedAttributes.of(Map.of(name, new byte[1])));
  }

  @Test
  void whatDoesNotFitInTheInodeAndABlockIsRefused() {
    // 4096 - 32 of the header - 4 of the end - 16 of the entry - 4 of its name
    assertTrue(ExtendedAttributes.of(Map.of("user.x", new byte[4040])).needBlock());
    assertThrows(
        IllegalArgumentException.class,
        () -> ExtendedAttributes.of(Map.of("user.x", new byte[4041])));
    // 256 - 160 of the inode - 4 of the header - 4 of the end - 16 of the entry - 4 of its name
    assertFalse(ExtendedAttributes.of(Map.of("user.x", new byte[68])).needBlock());
    assertTrue(ExtendedAttributes.of(Map.of("user.x", new byte[69])).needBlock());
  }

  @Test
  void namesHaveAtMost255Bytes() {
    ExtendedAttributes.of(Map.of("user." + "x".repeat(250), new byte[1]));
    assertThrows(
        IllegalArgumentException.class,
        () -> ExtendedAttributes.of(Map.of("user." + "x".repeat(251), new byte[1])));
  }

  @Test
  void malformedAclsAreRefused() {
    for (byte[] value :
        new byte[][] {
          {}, {2, 0, 0}, {1, 0, 0, 0}, {2, 0, 0, 0, 1}, {2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}
        }) {
      assertThrows(
          IllegalArgumentException.class,
          () -> ExtendedAttributes.of(Map.of("system.posix_acl_access", value)));
    }
  }

  @Test
  void areEqualByContent() {
    ExtendedAttributes one = ExtendedAttributes.of(Map.of("user.a", new byte[] {1}));

    assertEquals(one, ExtendedAttributes.of(Map.of("user.a", new byte[] {1})));
    assertEquals(
        one.hashCode(), ExtendedAttributes.of(Map.of("user.a", new byte[] {1})).hashCode());
    assertNotEquals(one, ExtendedAttributes.of(Map.of("user.a", new byte[] {2})));
    assertNotEquals(one, ExtendedAttributes.of(Map.of("trusted.a", new byte[] {1})));
  }
}
