// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.Nacelle;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.samples.KernelsSideBySide.Row;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Tag("boot")
class KernelsSideBySideBootTest {
  @Test
  @Timeout(value = 20, unit = TimeUnit.MINUTES)
  void fourKernelsRunOneProgramAndOneThatCannotBeHadLeavesThemTheirRows() {
    List<SandboxSpec> specs = new ArrayList<>();
    specs.addAll(KernelsSideBySide.specs(SampleImage.reference(), "file:/none/such"));
    specs.addAll(KernelsSideBySide.specs(SampleImage.reference()));
    List<Row> rows;
    try (Nacelle nacelle = Nacelle.create()) {
      rows = KernelsSideBySide.run(nacelle, specs);
    }
    Row failed = rows.get(0);
    assertEquals("file:/none/such", failed.kernel());
    assertTrue(failed.outcome().contains("/none/such"), failed::toString);
    assertEquals(Optional.empty(), failed.timeline());
    List<Row> booted = rows.subList(1, rows.size());
    assertEquals(
        List.of("debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12"),
        booted.stream().map(Row::kernel).toList());
    for (Row row : booted) {
      String series = row.kernel().replaceFirst(".*:", "");
      assertTrue(row.release().startsWith(series + "."), row::toString);
      // What sha256sum says of the same bytes.
      assertEquals("dabc1108", row.outcome());
      assertTrue(row.timeline().orElseThrow().duration(Stage.BOOT).isPresent());
    }
    assertEquals(4, booted.stream().map(Row::release).distinct().count(), booted::toString);
  }
}
