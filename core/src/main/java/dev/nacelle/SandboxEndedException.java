// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The sandbox has ended: closed, or its guest died. The caller can start another. */
public class SandboxEndedException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final transient @Nullable VmExit exit;

  /**
   * @param message why it ended
   * @param remedy what the caller can do, or null
   * @param exit how its machine ended, or null where that is not known
   * @param cause what was caught, or null
   */
  public SandboxEndedException(
      String message, @Nullable String remedy, @Nullable VmExit exit, @Nullable Throwable cause) {
    super(Stage.RUN, message, remedy, cause);
    this.exit = exit;
  }

  /** How its machine ended, where that is known. */
  public Optional<VmExit> exit() {
    return Optional.ofNullable(exit);
  }
}
