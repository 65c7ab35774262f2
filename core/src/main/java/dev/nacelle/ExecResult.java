// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A process that has run to its end. Immutable.
 *
 * <p>As in a shell, a command that is not there is told by exit code 127, and one that cannot be
 * executed by 126, with the reason on stderr.
 */
public final class ExecResult {
  /** How much of stderr {@link #orThrow} quotes. */
  private static final int LAST_LINES = 10;

  private static final int LAST_CHARACTERS = 2000;

  private final ExitStatus status;
  private final Output stdout;
  private final Output stderr;
  private final Duration duration;

  private ExecResult(ExitStatus status, Output stdout, Output stderr, Duration duration) {
    this.status = Objects.requireNonNull(status);
    this.stdout = Objects.requireNonNull(stdout);
    this.stderr = Objects.requireNonNull(stderr);
    this.duration = Objects.requireNonNull(duration);
  }

  /** One as {@link Sandbox#exec(ProcessSpec)} returns it; also for tests of code that reads it. */
  public static ExecResult of(ExitStatus status, Output stdout, Output stderr, Duration duration) {
    return new ExecResult(status, stdout, stderr, duration);
  }

  /** How it ended. */
  public ExitStatus status() {
    return status;
  }

  /** What it wrote to stdout; with a terminal, all that it wrote. */
  public Output stdout() {
    return stdout;
  }

  /** What it wrote to stderr; nothing with a terminal. */
  public Output stderr() {
    return stderr;
  }

  /** From the call to the end, as the host saw it. */
  public Duration duration() {
    return duration;
  }

  /** {@link ExitStatus#exitCode()}. */
  public int exitCode() {
    return status.exitCode();
  }

  /** Whether the exit code is 0. */
  public boolean succeeded() {
    return status.succeeded();
  }

  /**
   * This, when the exit code is 0.
   *
   * @throws ProcessException otherwise, with {@link ProcessException.Reason#FAILED}, the
   *     {@linkplain ProcessException#exitStatus() status}, and a message that ends with the last
   *     lines of stderr: at most ten of them and 2000 characters, control characters but tabs left
   *     out
   */
  public ExecResult orThrow() {
    if (succeeded()) {
      return this;
    }
    String last = lastLines(stderr.text());
    throw new ProcessException(
        "The process failed: "
            + status
            + (last.isEmpty() ? "" : "; the end of its stderr:\n" + last),
        status);
  }

  private static String lastLines(String text) {
    int end = text.length();
    while (end > 0 && Character.isWhitespace(text.charAt(end - 1))) {
      end--;
    }
    int start = end;
    for (int lines = 0; start > 0 && end - start < LAST_CHARACTERS; start--) {
      if (text.charAt(start - 1) == '\n' && ++lines == LAST_LINES) {
        break;
      }
    }
    StringBuilder clean = new StringBuilder(end - start);
    text.substring(start, end)
        .codePoints()
        .filter(c -> c == '\n' || c == '\t' || !Character.isISOControl(c))
        .forEach(clean::appendCodePoint);
    return clean.toString();
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ExecResult result
        && status.equals(result.status)
        && stdout.equals(result.stdout)
        && stderr.equals(result.stderr)
        && duration.equals(result.duration);
  }

  @Override
  public int hashCode() {
    return Objects.hash(status, stdout, stderr, duration);
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
