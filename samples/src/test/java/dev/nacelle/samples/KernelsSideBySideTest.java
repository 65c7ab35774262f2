// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.BootTimeline;
import dev.nacelle.Stage;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.samples.KernelsSideBySide.Row;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class KernelsSideBySideTest {
  private static final String PIN = "@sha256:" + "0".repeat(64);

  @Test
  void aRowNamesTheKernelThatWasBootedAndTimesItsStages() {
    Row own = row("nacelle:6.12" + PIN, 40, "by Linux 6.12.117-nacelle");
    Row image = row("image:localhost:5000/kernel:6.1" + PIN, 250, "by Linux 6.1.0-56");
    assertEquals(
        """
        ms                                  image    kernel initramfs    create      boot   prepare     ready  result
        nacelle:6.12                          2.5       0.0       0.0       0.0      40.0       0.0      43.5  by Linux 6.12.117-nacelle
        image:localhost:5000/kernel:6.1       2.5       0.0       0.0       0.0     250.0       0.0     253.5  by Linux 6.1.0-56"""
            .lines()
            .toList(),
        KernelsSideBySide.table(List.of(own, image)).lines().toList());
  }

  private static Row row(String kernel, int boot, String result) {
    BootTimeline timeline =
        new BootTimeline(
            List.of(
                new BootTimeline.Entry(Stage.IMAGE, "", Duration.ZERO, Duration.ofNanos(2_500_000)),
                new BootTimeline.Entry(
                    Stage.BOOT, "", Duration.ofNanos(3_500_000), Duration.ofMillis(boot))));
    return new Row(KernelRef.parse(kernel), timeline, result);
  }
}
