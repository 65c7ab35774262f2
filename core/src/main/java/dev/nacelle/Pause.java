// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * A machine that stands still, until this is closed and every other pause of it. Safe for use from
 * several threads.
 */
public interface Pause extends AutoCloseable {
  /** Who or what for. */
  String reason();

  /**
   * Ends it, and has the machine go on when there is no other. Idempotent, on any thread but one of
   * a virtual machine, such as calls a listener of its console; of no effect when the machine has
   * ended. Does not throw.
   */
  @Override
  void close();
}
