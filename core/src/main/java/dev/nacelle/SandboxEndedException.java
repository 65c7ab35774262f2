// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The sandbox has ended, and {@link #exit()} says why. The caller can start another. The message
 * has the last lines of its console where its guest is to blame.
 */
public class SandboxEndedException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final SandboxExit exit;

  /**
   * @param message which sandbox it was, and why it ended
   * @param remedy what the caller can do, or null
   * @param exit why it ended
   * @param cause what was caught, or null
   */
  public SandboxEndedException(
      String message, @Nullable String remedy, SandboxExit exit, @Nullable Throwable cause) {
    super(Stage.RUN, message, remedy, cause);
    this.exit = Objects.requireNonNull(exit);
  }

  /** Why it ended. */
  public SandboxExit exit() {
    return exit;
  }
}
