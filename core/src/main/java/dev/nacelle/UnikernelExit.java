// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.OptionalInt;

/**
 * How a unikernel ended.
 *
 * @param exit how its machine ended
 * @param timedOut whether its {@linkplain UnikernelSpec#timeout() time} was over; the machine was
 *     closed then
 * @param console the end of what it wrote to its serial port; bytes that are not UTF-8 are
 *     replaced, control characters other than tab and newline removed
 */
public record UnikernelExit(VmExit exit, boolean timedOut, String console) {
  /** What it wrote to its exit port, as an unsigned number; empty when it ended in another way. */
  public OptionalInt status() {
    return exit.status();
  }
}
