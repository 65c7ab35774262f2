// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class AxisTest {
  @Test
  void barsAreInProportionUntilRatiosAreLarge() {
    Axis near = Axis.ofBars(10, 100, 50, 200);
    assertFalse(near.logarithmic());
    assertEquals(50, near.at(0));
    assertEquals(150, near.at(50));
    assertEquals(250, near.at(100));
    assertEquals(List.of(0.0, 20.0, 40.0, 60.0, 80.0, 100.0), near.ticks());

    Axis far = Axis.ofBars(10, 10_000, 0, 400);
    assertTrue(far.logarithmic());
    assertEquals(0, far.at(1));
    assertEquals(100, far.at(10), 1e-9);
    assertEquals(400, far.at(10_000));
    assertEquals(0, far.at(0));
  }

  @Test
  void everyRangeHasTicksAndAPlace() {
    double[][] ranges = {
      {0, 0},
      {5, 5},
      {-3, 4},
      {1e-9, 2e-9},
      {1, 1e15},
      {1e15, 1e15 + 1},
      {1e-300, 1e300},
      {0, 1e300}
    };
    for (double[] range : ranges) {
      for (Axis axis :
          List.of(
              Axis.ofBars(range[0], range[1], 10, 100),
              Axis.ofPoints(range[0], range[1], 10, 100),
              Axis.ofRatios(Math.max(range[0], 1e-3), Math.max(range[1], 1), 10, 100))) {
        double place = axis.at(range[1]);
        assertTrue(place >= 10 && place <= 110, range[0] + " to " + range[1] + ": " + place);
        assertTrue(axis.ticks().size() <= 40, range[0] + " to " + range[1] + ": " + axis.ticks());
        axis.ticks().forEach(tick -> assertTrue(Double.isFinite(tick)));
      }
    }
  }

  @Test
  void ratiosHaveOneInTheMiddleOfNothing() {
    assertTrue(Axis.ofRatios(3, 90, 0, 100).at(1) > 0);
    assertTrue(Axis.ofRatios(0.01, 0.5, 0, 100).at(1) < 100);
  }
}
