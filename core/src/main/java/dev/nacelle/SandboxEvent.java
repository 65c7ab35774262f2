// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.time.Instant;

/**
 * What happens to a sandbox. First come the stages of its start, each as a pair, of which some
 * overlap; then {@link Started} and, at its end, {@link Ended}; or {@link StartFailed} alone.
 *
 * <p>Later versions may have events of more kinds, which is why a {@code switch} needs a default.
 * Those that there are get no more components, so that they can be made and taken apart as records:
 * what else is known of a sandbox comes by its {@linkplain #sandboxId() identifier}. Immutable.
 */
public sealed interface SandboxEvent {
  /** {@link Sandbox#id()}, which no other sandbox has. */
  String sandboxId();

  /** The sandbox's name, which others may have, too. */
  String sandboxName();

  /** When it happened, by the host's wall clock. */
  Instant time();

  /**
   * A stage of starting it begins.
   *
   * @param stage which
   */
  record StageStarted(String sandboxId, String sandboxName, Instant time, Stage stage)
      implements SandboxEvent {}

  /**
   * A stage of starting it is over, successfully or not.
   *
   * @param stage which
   * @param duration how long it took
   */
  record StageEnded(
      String sandboxId, String sandboxName, Instant time, Stage stage, Duration duration)
      implements SandboxEvent {}

  /** It is ready to run processes. */
  record Started(String sandboxId, String sandboxName, Instant time) implements SandboxEvent {}

  /**
   * It did not become ready, and nothing is left of it.
   *
   * @param failure what the caller of {@link Nacelle#start(SandboxSpec)} gets; a {@link
   *     java.util.concurrent.CancellationException} when the start was given up
   */
  record StartFailed(String sandboxId, String sandboxName, Instant time, Throwable failure)
      implements SandboxEvent {}

  /**
   * It had started, has ended, and nothing is left of it.
   *
   * @param exit why
   */
  record Ended(String sandboxId, String sandboxName, Instant time, SandboxExit exit)
      implements SandboxEvent {}
}
