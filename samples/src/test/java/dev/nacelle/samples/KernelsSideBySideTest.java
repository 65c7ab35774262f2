// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.BootTimeline;
import dev.nacelle.Stage;
import dev.nacelle.samples.KernelsSideBySide.Row;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class KernelsSideBySideTest {
  @Test
  void aRowHasWhatRanAndHowLongItTookOrWhyItDidNot() {
    BootTimeline timeline =
        BootTimeline.of(
            List.of(
                BootTimeline.Entry.of(Stage.IMAGE, Duration.ZERO, Duration.ofNanos(2_500_000)),
                BootTimeline.Entry.of(
                    Stage.BOOT, Duration.ofNanos(3_500_000), Duration.ofMillis(250))));
    Row booted =
        new Row("image:localhost:5000/kernel:6.1", "6.1.0-56", "5b1", Optional.of(timeline));
    Row failed = new Row("debian:6.12", "-", "there is no apt.\n  Use another", Optional.empty());
    assertEquals(
        """
        kernel                           release   image  kernel  initramfs  create   boot  prepare  ready  outcome
        image:localhost:5000/kernel:6.1  6.1.0-56    2.5       -          -       -  250.0        -  253.5  5b1
        debian:6.12                      -             -       -          -       -      -        -      -  there is no apt. Use another"""
            .lines()
            .toList(),
        KernelsSideBySide.table(List.of(booted, failed)).lines().toList());
  }

  @Test
  void withoutKernelsThereAreFour() {
    assertEquals(
        List.of("debian:6.1", "debian:6.12", "nacelle:6.1", "nacelle:6.12"),
        KernelsSideBySide.specs("python:3.12-slim").stream()
            .map(spec -> spec.kernel().toString())
            .toList());
  }
}
