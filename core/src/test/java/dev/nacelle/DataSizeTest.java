// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.Refusals.assertRefused;
import static dev.nacelle.Refusals.assertRefusedFor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class DataSizeTest {
  @ParameterizedTest
  @CsvSource({
    "0, 0",
    "4096, 4096",
    "7B, 7",
    "1KiB, 1024",
    "256MiB, 268435456",
    "256 MiB, 268435456",
    "1GiB, 1073741824",
    "2TiB, 2199023255552",
    "5kB, 5000",
    "500MB, 500000000",
    "1GB, 1000000000",
    "9223372036854775807, 9223372036854775807"
  })
  void readsNumbersWithUnits(String text, long bytes) {
    assertEquals(bytes, DataSize.parse(text).bytes());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "MiB",
        "256M",
        "1.5GiB",
        "-1",
        "1  MiB",
        "1mib",
        "9223372036854775808",
        "99999999999999999999",
        "9007199254740992KiB"
      })
  void refusesWhatIsUnclearOrDoesNotFit(String text) {
    String what = text.length() < 19 ? "not a size: '" : "";
    assertRefusedFor(what + text.replace("KiB", ""), () -> DataSize.parse(text));
  }

  @ParameterizedTest
  @ValueSource(strings = {"0B", "1B", "1000B", "1KiB", "1023KiB", "256MiB", "3GiB", "1TiB"})
  void printsWhatItReads(String text) {
    assertEquals(text, DataSize.parse(text).toString());
  }

  @Test
  void ordersBySize() {
    assertTrue(DataSize.mebibytes(1).compareTo(DataSize.kibibytes(1025)) < 0);
  }

  @Test
  void whatIsNegativeOrDoesNotFitIsRefused() {
    assertRefused("a size is not negative: -1", () -> DataSize.bytes(-1));
    assertRefused("a size must fit 63 bits: 1099511627776 GiB", () -> DataSize.gibibytes(1L << 40));
  }
}
