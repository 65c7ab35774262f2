// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class StatisticsTest {
  @Test
  void quantilesAreBetweenNeighbours() {
    Statistics statistics = new Statistics(List.of(4.0, 1.0, 3.0, 2.0));
    assertEquals(2.5, statistics.median());
    assertEquals(1.75, statistics.quantile(0.25));
    assertEquals(3.25, statistics.quantile(0.75));
    assertEquals(1, statistics.min());
    assertEquals(4, statistics.max());
    assertEquals(3, new Statistics(List.of(9.0, 3.0, 1.0)).median());
    assertEquals(7, new Statistics(List.of(7.0)).quantile(0.99));
  }

  @Test
  void tailTakesAHundred() {
    List<Double> samples = IntStream.range(0, 100).mapToObj(n -> (double) n).toList();
    assertEquals(Optional.empty(), new Statistics(samples.subList(1, 100)).tail());
    assertEquals(98.01, new Statistics(samples).tail().orElseThrow(), 1e-9);
  }

  @Test
  void someKeepsBothEnds() {
    Statistics statistics =
        new Statistics(IntStream.range(0, 1000).mapToObj(n -> (double) n).toList());
    assertArrayEquals(new double[] {0, 499, 999}, statistics.some(3));
    assertEquals(1000, statistics.some(5000).length);
  }

  @Test
  void whatIsNoNumberIsRefused() {
    for (double odd : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
      assertThrows(IllegalArgumentException.class, () -> new Statistics(List.of(1.0, odd, 2.0)));
    }
    assertThrows(IllegalArgumentException.class, () -> new Statistics(List.of()));
  }
}
