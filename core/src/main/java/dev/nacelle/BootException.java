// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.spi.VmExit;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A sandbox did not come up: its guest died, or the time for starting was over. The {@linkplain
 * #stage() stage} says how far it came.
 */
public class BootException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final transient @Nullable VmExit exit;
  private final String console;
  private final boolean timedOut;

  BootException(
      Stage stage,
      String message,
      @Nullable String remedy,
      @Nullable VmExit exit,
      String console,
      boolean timedOut,
      @Nullable Throwable cause) {
    super(stage, message, remedy, cause);
    this.exit = exit;
    this.console = console;
    this.timedOut = timedOut;
  }

  /** How the guest ended, if it did. */
  public Optional<VmExit> exit() {
    return Optional.ofNullable(exit);
  }

  /**
   * The last lines that the guest's kernel wrote to its console; empty when it wrote none. They are
   * part of the message, too.
   */
  public String console() {
    return console;
  }

  /** Whether {@link SandboxSpec#timeout()} was over, while the guest still ran. */
  public boolean timedOut() {
    return timedOut;
  }
}
