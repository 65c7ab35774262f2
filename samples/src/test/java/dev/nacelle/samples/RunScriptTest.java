// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What {@code samples/run} says of arguments that make no sense, before it does anything. */
class RunScriptTest {
  private record Run(int status, String out, String err) {}

  private static Run run(String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("./run"));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).start();
    // Little enough for a pipe to hold.
    int status = process.waitFor();
    return new Run(
        status,
        new String(process.getInputStream().readAllBytes(), UTF_8),
        new String(process.getErrorStream().readAllBytes(), UTF_8));
  }

  @Test
  void anUnknownSampleIsNamedWithThoseThatThereAre() throws Exception {
    assertEquals(
        new Run(
            2,
            "",
            "samples/run: no sample \"pyton\"; there are: python, kernels, code-runner, plugins,"
                + " network, check-host\n"),
        run("pyton"));
  }

  @Test
  void argumentsThatASampleDoesNotTakeAreNamed() throws Exception {
    assertEquals(
        new Run(2, "", "samples/run: python takes no \"two\"\n"), run("python", "one", "two"));
    assertEquals(
        new Run(2, "", "samples/run: code-runner takes a port or --demo, not \"high\"\n"),
        run("code-runner", "high"));
    assertEquals(
        new Run(2, "", "samples/run: code-runner takes a port or --demo, not \"65536\"\n"),
        run("code-runner", "65536"));
    assertEquals(new Run(2, "", "samples/run: plugins takes no \"x\"\n"), run("plugins", "x"));
    assertEquals(new Run(2, "", "samples/run: network takes no \"x\"\n"), run("network", "x"));
  }
}
