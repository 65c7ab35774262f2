// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.spi.VmExit;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** The sandbox has ended: closed, or its guest died. The caller can start another. */
public class SandboxEndedException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final transient @Nullable VmExit exit;

  SandboxEndedException(
      String message, @Nullable String remedy, @Nullable VmExit exit, @Nullable Throwable cause) {
    super(Stage.RUN, message, remedy, cause);
    this.exit = exit;
  }

  /** How its machine ended, where that is known. */
  public Optional<VmExit> exit() {
    return Optional.ofNullable(exit);
  }
}
