// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Root of everything Nacelle throws on purpose. A subclass stands for something a caller can act
 * on; the message says what failed and where, {@link #stage()} in which stage, and {@link
 * #remedy()} what to do about it.
 */
public class NacelleException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final Stage stage;
  private final @Nullable String remedy;

  /**
   * @param stage where it happened
   * @param message what failed, with the name of the thing that was looked at
   * @param remedy what the caller can do, as a full sentence, or null where nothing is known to
   *     help
   * @param cause what was caught, or null
   */
  public NacelleException(
      Stage stage, String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(Objects.requireNonNull(message) + (remedy == null ? "" : ". " + remedy), cause);
    this.stage = Objects.requireNonNull(stage);
    this.remedy = remedy;
  }

  /** The stage of a sandbox's life in which it happened. */
  public final Stage stage() {
    return stage;
  }

  /**
   * Whether the same call, unchanged, may work when it is made again later: a network or a server
   * failed, or wants fewer requests, or fetching took longer than it was given. False where
   * somebody has to change something first (a full disk, a missing login, a damaged file), and
   * where nothing is known: a guest that does not boot, or a host without memory, is not made
   * better by more attempts.
   */
  public boolean isTransient() {
    return false;
  }

  /** What the caller can do about it, as a full sentence, where something is known to help. */
  public final Optional<String> remedy() {
    return Optional.ofNullable(remedy);
  }
}
