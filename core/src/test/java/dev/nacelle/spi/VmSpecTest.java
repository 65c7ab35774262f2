// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.MemoryPolicy;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VmSpecTest {
  private static final Path FILE = Path.of("/vmlinux");

  @ParameterizedTest
  @ValueSource(strings = {"a\0b", "a\nb", "\33[2J", "\u009b"})
  void aCommandLineWithAControlCharacterIsRefused(String line) {
    assertThrows(
        IllegalArgumentException.class,
        () -> new VmSpec.Linux(FILE, null, line, MemoryPolicy.SPEED));
    assertThrows(IllegalArgumentException.class, () -> new VmSpec.Bare(FILE, line));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a=\"b c\" -- d", "name=\u00fc"})
  void anyOtherIsTakenAsItIs(String line) {
    assertEquals(line, new VmSpec.Linux(FILE, null, line, MemoryPolicy.SPEED).parameters());
    assertEquals(line, new VmSpec.Bare(FILE, line).commandLine());
  }
}
