// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;

/**
 * A process that has run to its end.
 *
 * <p>As in a shell, a command that is not there is told by exit code 127, and one that cannot be
 * executed by 126, with the reason on stderr.
 *
 * @param status how it ended
 * @param stdout what it wrote to stdout; with a terminal, all that it wrote
 * @param stderr what it wrote to stderr; nothing with a terminal
 * @param duration from the call to the end, as the host saw it
 */
public record ExecResult(ExitStatus status, Output stdout, Output stderr, Duration duration) {
  /** {@link ExitStatus#exitCode()}. */
  public int exitCode() {
    return status.exitCode();
  }

  /** Whether the exit code is 0. */
  public boolean succeeded() {
    return status.succeeded();
  }

  /** How it ended, and how much it wrote: its outputs may be long, and not for a log. */
  @Override
  public String toString() {
    return status
        + " after "
        + duration
        + ", "
        + stdout.length()
        + " bytes on stdout and "
        + stderr.length()
        + " on stderr";
  }
}
