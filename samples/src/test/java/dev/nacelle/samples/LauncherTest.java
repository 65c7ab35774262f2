// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LauncherTest {
  private final ByteArrayOutputStream written = new ByteArrayOutputStream();

  /** What a failing run has said. */
  private List<String> failure(String... arguments) throws InterruptedException {
    assertFalse(Launcher.run(new PrintStream(written, true, StandardCharsets.UTF_8), arguments));
    return written.toString(StandardCharsets.UTF_8).lines().toList();
  }

  @ParameterizedTest
  @ValueSource(strings = {"code-runner", "kernels", "network", "plugins", "python"})
  void aReferenceThatCannotBeParsedIsOneLine(String sample) throws InterruptedException {
    for (String step : List.of("prepare", "run")) {
      written.reset();
      List<String> lines =
          step.equals("prepare")
              ? failure("--prepare", sample, "No Such Image")
              : failure(sample, "No Such Image");
      assertEquals(1, lines.size(), lines::toString);
      assertTrue(lines.get(0).startsWith(sample + ": "), lines::toString);
      assertTrue(lines.get(0).contains("No Such Image"), lines::toString);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"code-runner", "kernels", "network", "plugins", "python"})
  void anImageThatCannotBeHadIsOneLine(String sample) throws InterruptedException {
    List<String> lines = failure("--prepare", sample, "oci:/none/such");
    assertEquals(2, lines.size(), lines::toString);
    assertTrue(lines.get(0).startsWith(sample + ": fetching"), lines::toString);
    assertTrue(lines.get(1).startsWith(sample + ": "), lines::toString);
    assertTrue(lines.get(1).contains("/none/such"), lines::toString);
  }

  @Test
  void aKernelThatCannotBeParsedIsOneLine() throws InterruptedException {
    List<String> lines = failure("kernels", "oci:/image", "nacelle:six");
    assertEquals(1, lines.size(), lines::toString);
    assertTrue(lines.get(0).contains("nacelle:six"), lines::toString);
  }

  @Test
  void aMessageOfSeveralLinesBecomesOne() {
    assertEquals(
        "python: it died; its console: | a | b. Do that.",
        Launcher.line(
            "python", new IllegalStateException("it died; its console:\n    a\n    b. Do that.")));
  }
}
