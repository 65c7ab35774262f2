// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * What a command came to.
 *
 * @param exitCode 128 + n where signal n ended it
 * @param stdout what it wrote; not to be changed
 * @param stderr the last of it, for messages; empty where it is not known
 */
@SuppressWarnings("ArrayRecordComponent")
public record Output(int exitCode, byte[] stdout, String stderr) {
  /**
   * Itself.
   *
   * @throws IOException when it is not 0 with which it ended; the message has the command and what
   *     it wrote to stderr
   */
  public Output orThrow(List<String> command) throws IOException {
    if (exitCode != 0) {
      throw new IOException(
          String.join(" ", command) + ": exit code " + exitCode + (": " + stderr).strip());
    }
    return this;
  }

  /** Whether it ended with 0. */
  public boolean succeeded() {
    return exitCode == 0;
  }

  /** What it wrote, as UTF-8. */
  public String text() {
    return new String(stdout, StandardCharsets.UTF_8);
  }
}
