// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Runs the system's tools. */
public final class Tool {
  private Tool() {}

  /** Its output, one char per byte; an AssertionError with everything it said where it fails. */
  public static String run(Path directory, List<String> command) {
    return run(directory, Map.of(), command);
  }

  /** As {@link #run(Path, List)}, with other variables in its environment as well. */
  public static String run(Path directory, Map<String, String> variables, List<String> command) {
    try {
      ProcessBuilder builder = new ProcessBuilder(command).directory(directory.toFile());
      builder.environment().put("LC_ALL", "C");
      builder.environment().putAll(variables);
      Process process = builder.redirectErrorStream(true).start();
      process.getOutputStream().close();
      ByteArrayOutputStream output = new ByteArrayOutputStream();
      process.getInputStream().transferTo(output);
      int exit = process.waitFor();
      String text = output.toString(StandardCharsets.ISO_8859_1);
      if (exit != 0) {
        throw new AssertionError(
            "exit code " + exit + " of " + String.join(" ", command) + "\n" + text);
      }
      return text;
    } catch (IOException e) {
      throw new UncheckedIOException("is it installed? .ci/packages lists what tests need", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  public static String run(Path directory, String... command) {
    return run(directory, Arrays.asList(command));
  }

  /** A bash script that stops at its first failing command. */
  public static String script(Path directory, String script) {
    return run(directory, "bash", "-euc", "set -o pipefail\n" + script);
  }
}
