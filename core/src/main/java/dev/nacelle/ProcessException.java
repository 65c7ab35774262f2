// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A process could not be started, or nothing is known of its end. */
public class ProcessException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /** What was wrong. More may be added: a {@code switch} has a default. */
  public enum Reason {
    /** There is no such executable (a shell's 127). */
    COMMAND_NOT_FOUND,
    /** There is such a file, but it cannot be executed (a shell's 126). */
    COMMAND_NOT_EXECUTABLE,
    /** The image knows no such user or group. */
    UNKNOWN_USER,
    /** The working directory cannot be entered, or not be made. */
    BAD_WORKING_DIRECTORY,
    /** It could not be started for another reason; the message is the guest's. */
    NOT_STARTED,
    /**
     * It did not start or end in time, and neither did the guest kill it; the host gave it up. Or
     * nobody accepted connections in time; of {@link SandboxNetwork#awaitPort}.
     */
    TIMED_OUT,
    /** It ran and its exit code was not 0; of {@link ExecResult#orThrow()}. */
    FAILED,
    /** What it was to read from stdin could not be read here: the cause is that IOException. */
    STDIN_FAILED,
    /** There is no process of that identifier to attach to. */
    NOT_FOUND,
    /** The guest broke the contract between host and guest. */
    GUEST_MISBEHAVED
  }

  private final Reason reason;
  private final transient @Nullable ExitStatus status;

  /**
   * @param reason what was wrong
   * @param message the same for people
   * @param remedy what the caller can do, or null
   * @param cause what was caught, or null
   */
  public ProcessException(
      Reason reason, String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(Stage.RUN, message, remedy, cause);
    this.reason = Objects.requireNonNull(reason);
    status = null;
  }

  /**
   * One of a process that {@linkplain Reason#FAILED failed}.
   *
   * @param status how it ended
   */
  public ProcessException(String message, ExitStatus status) {
    super(Stage.RUN, message, null, null);
    this.reason = Reason.FAILED;
    this.status = Objects.requireNonNull(status);
  }

  /** How the process ended, when it {@linkplain Reason#FAILED failed}; not after serialization. */
  public Optional<ExitStatus> exitStatus() {
    return Optional.ofNullable(status);
  }

  /** What was wrong. */
  public Reason reason() {
    return reason;
  }
}
