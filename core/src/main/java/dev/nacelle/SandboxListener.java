// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;

/**
 * Is told of sandboxes as they come and go; given to {@link Nacelle.Builder#listener}. Called on
 * several threads at once, which wait for it: it must not block. What it throws is logged and
 * otherwise ignored.
 */
public interface SandboxListener {
  /** A stage of starting a sandbox begins. */
  default void stageStarted(String sandbox, Stage stage) {}

  /** A stage of starting a sandbox is over, successfully or not. */
  default void stageEnded(String sandbox, Stage stage, Duration duration) {}

  /** A sandbox that had started has ended. */
  default void sandboxEnded(String sandbox, VmExit exit) {}
}
