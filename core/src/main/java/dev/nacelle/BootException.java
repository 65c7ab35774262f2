// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A sandbox did not come up: its guest died, or the time for starting was over. The {@linkplain
 * #stage() stage} says how far it came.
 */
public class BootException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final transient @Nullable VmExit machine;
  private final String console;
  private final boolean timedOut;

  /**
   * @param stage how far it came
   * @param message what was wrong
   * @param remedy what the caller can do, or null
   * @param machine how the guest's machine ended, or null where it did not
   * @param console the last lines of its console
   * @param timedOut whether the time for fetching or starting was over
   * @param cause what was caught, or null
   */
  public BootException(
      Stage stage,
      String message,
      @Nullable String remedy,
      @Nullable VmExit machine,
      String console,
      boolean timedOut,
      @Nullable Throwable cause) {
    super(stage, message, remedy, cause);
    this.machine = machine;
    this.console = Objects.requireNonNull(console);
    this.timedOut = timedOut;
  }

  /** How the guest's machine ended, if it did. */
  public Optional<VmExit> machine() {
    return Optional.ofNullable(machine);
  }

  /**
   * The last lines that the guest's kernel wrote to its console; empty when it wrote none. They are
   * part of the message, too.
   */
  public String console() {
    return console;
  }

  /**
   * Whether {@link SandboxSpec#fetchTimeout()} or {@link SandboxSpec#startTimeout()} was over; the
   * {@linkplain #stage() stage} says which.
   */
  public boolean timedOut() {
    return timedOut;
  }

  /**
   * Whether the time for fetching was over: what was downloaded by then is kept, and the next
   * attempt goes on from there.
   */
  @Override
  public boolean isTransient() {
    return timedOut
        && (stage() == Stage.IMAGE || stage() == Stage.KERNEL || stage() == Stage.INITRAMFS);
  }
}
