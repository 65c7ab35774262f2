// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.Nacelle;
import dev.nacelle.Stage;
import dev.nacelle.samples.KernelsSideBySide.Row;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Tag("boot")
class KernelsSideBySideBootTest {
  @Test
  @Timeout(value = 10, unit = TimeUnit.MINUTES)
  void aKernelThatCannotBeHadLeavesTheOthersTheirRows() {
    List<Row> rows;
    try (Nacelle nacelle = Nacelle.create()) {
      rows =
          KernelsSideBySide.run(
              nacelle,
              KernelsSideBySide.specs(SampleImage.reference(), "file:/none/such", "nacelle:6.12"));
    }
    Row failed = rows.get(0);
    assertEquals("file:/none/such", failed.kernel());
    assertTrue(failed.outcome().contains("/none/such"), failed::toString);
    assertEquals(Optional.empty(), failed.timeline());
    Row booted = rows.get(1);
    assertEquals("nacelle:6.12", booted.kernel());
    assertTrue(booted.release().startsWith("6.12."), booted::toString);
    // What sha256sum says of the same bytes.
    assertEquals("dabc1108", booted.outcome());
    assertTrue(booted.timeline().orElseThrow().duration(Stage.BOOT).isPresent());
  }
}
