// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.isolation.results.Results.Unit;
import org.junit.jupiter.api.Test;

class QuantityTest {
  @Test
  void unitSuitsSize() {
    assertEquals("0 ns", Quantity.of(0, Unit.NANOSECONDS));
    assertEquals("0.25 ns", Quantity.of(0.25, Unit.NANOSECONDS));
    assertEquals("95.3 ns", Quantity.of(95.34, Unit.NANOSECONDS));
    assertEquals("1 us", Quantity.of(999.96, Unit.NANOSECONDS));
    assertEquals("3.1 ms", Quantity.of(3_100_000, Unit.NANOSECONDS));
    assertEquals("12 s", Quantity.of(12e9, Unit.NANOSECONDS));
    assertEquals("1230 s", Quantity.of(1234e9, Unit.NANOSECONDS));
    assertEquals("64 MiB", Quantity.of(64 << 20, Unit.BYTES));
    assertEquals("-1.5 KiB", Quantity.of(-1536, Unit.BYTES));
    assertEquals("2 GiB/s", Quantity.of(2L << 30, Unit.BYTES_PER_SECOND));
    assertEquals("1.2 k/s", Quantity.of(1200, Unit.PER_SECOND));
    assertEquals("12/s", Quantity.of(12, Unit.PER_SECOND));
    assertEquals("50", Quantity.of(50, Unit.COUNT));
  }

  @Test
  void ratiosAreNotFinerThanTheyCanBe() {
    assertEquals("×1", Quantity.ratio(0.998));
    assertEquals("×0.98", Quantity.ratio(0.984));
    assertEquals("×12.3", Quantity.ratio(12.34));
    assertEquals("×1230", Quantity.ratio(1234));
    assertEquals("×0.0042", Quantity.ratio(0.0042));
  }
}
