// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SignalTest {
  @ParameterizedTest
  @CsvSource({
    "SIGTERM,15",
    "TERM,15",
    "sigquit,3",
    "SIGWINCH,28",
    "9,9",
    "64,64",
    "SIGRTMIN,34",
    "SIGRTMIN+3,37",
    "RTMIN+30,64",
    "SIGRTMAX,64",
    "SIGRTMAX-30,34"
  })
  void aSignalIsReadAsImagesNameIt(String text, int number) {
    assertEquals(new Signal(number), Signal.parse(text));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "SIG",
        "0",
        "65",
        "-1",
        "999",
        "SIGNONE",
        "SIGRTMIN+31",
        "SIGRTMAX-31",
        "SIGRTMIN-1",
        "SIGRTMAX+1",
        "TERM ",
        "SIGSIGTERM"
      })
  void whatIsNoSignalIsRefused(String text) {
    assertRefused("there is no signal '" + text + "'", () -> Signal.parse(text));
  }

  @Test
  void numbersHaveBounds() {
    assertRefused("signals are numbered 1 to 64, not 0", () -> new Signal(0));
    assertRefused("signals are numbered 1 to 64, not 65", () -> new Signal(65));
  }
}
