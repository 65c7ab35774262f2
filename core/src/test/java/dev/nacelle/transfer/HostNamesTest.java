// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.transfer;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HostNamesTest {
  @ParameterizedTest
  @ValueSource(strings = {"", ".", "..", "a/b", "a\0b"})
  void whatIsNoNameIsNoneAnywhere(String name) {
    assertNotNull(HostNames.refusal(name, false));
    assertNotNull(HostNames.refusal(name, true));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a\\b",
        "C:",
        "a:b",
        "file:stream",
        "a*",
        "a?",
        "\"",
        "<",
        ">",
        "|",
        "\u0001",
        "end.",
        "end ",
        "...",
        "con",
        "CON",
        "Aux.txt",
        "nul.tar.gz",
        "com1",
        "LPT9.log",
        "com\u00b9",
        "CONIN$",
        "prn .x"
      })
  void whatLinuxHasAndWindowsHasNotIsRefusedThere(String name) {
    assertNull(HostNames.refusal(name, false));
    assertNotNull(HostNames.refusal(name, true));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a", "a.b", ".hidden", "console", "com", "com10", "a con", "null", "\u00e9", "x y"
      })
  void whatBothHaveIsTaken(String name) {
    assertNull(HostNames.refusal(name, false));
    assertNull(HostNames.refusal(name, true));
  }

  @Test
  void aBackslashIsPartOfANameOnLinux() {
    assertNull(HostNames.refusal("..\\..\\x", false));
  }
}
