// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ExitCountersTest {
  private final ExitCounters counters = new ExitCounters();

  private Map<String, Long> sums() {
    Map<String, Long> sums = new HashMap<>();
    counters.addTo(sums);
    return sums;
  }

  @Test
  void tellsCausesApart() {
    counters.countPort(0x3f8, true);
    counters.countPort(0x3f8, true);
    counters.countPort(0x3f8, false);
    counters.countMmio(0x3f8, true);
    counters.countMmio(0xd000_0050L, false);
    counters.countReason(8);
    counters.countReason(1000);
    assertEquals(
        Map.of(
            "io:0x3f8:out", 2L,
            "io:0x3f8:in", 1L,
            "mmio:0x3f8:write", 1L,
            "mmio:0xd0000050:read", 1L,
            "shutdown", 1L,
            "exit-1000", 1L),
        sums());
  }

  @Test
  void addsToOtherCounters() {
    Map<String, Long> sums = new HashMap<>(Map.of("shutdown", 5L));
    counters.countReason(8);
    counters.addTo(sums);
    assertEquals(Map.of("shutdown", 6L), sums);
  }

  @Test
  void staysSmallWhateverTheGuestDoes() {
    for (int port = 0; port < 0x1_0000; port++) {
      counters.countPort(port, false);
    }
    Map<String, Long> sums = sums();
    assertTrue(sums.size() < 500, () -> sums.size() + " counters");
    assertEquals(0x1_0000, sums.values().stream().mapToLong(Long::longValue).sum());
    counters.countPort(0, false);
    assertEquals(2, sums().get("io:0x0:in"));
  }
}
