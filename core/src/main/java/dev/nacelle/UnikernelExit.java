// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** How a unikernel ended. Immutable. */
public final class UnikernelExit {
  private final VmExit machine;
  private final boolean timedOut;
  private final String console;

  private UnikernelExit(VmExit machine, boolean timedOut, String console) {
    this.machine = Objects.requireNonNull(machine);
    this.timedOut = timedOut;
    this.console = Objects.requireNonNull(console);
  }

  /** With what the getters of the same names tell. */
  public static UnikernelExit of(VmExit machine, boolean timedOut, String console) {
    return new UnikernelExit(machine, timedOut, console);
  }

  /** How its machine ended. */
  public VmExit machine() {
    return machine;
  }

  /** What it wrote to its exit port, as an unsigned number; empty when it ended in another way. */
  public OptionalInt status() {
    return machine.status();
  }

  /**
   * Whether its {@linkplain UnikernelSpec#timeout() time} was over; the machine was closed then.
   */
  public boolean timedOut() {
    return timedOut;
  }

  /**
   * The end of what it wrote to its serial port; bytes that are not UTF-8 are replaced, control
   * characters other than tab and newline removed.
   */
  public String console() {
    return console;
  }

  private List<Object> state() {
    return List.of(machine, timedOut, console);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof UnikernelExit that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return machine + (timedOut ? ", for its time was over" : "");
  }
}
