// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

/** Runs what must not keep what comes after it from happening. */
final class Quietly {
  private Quietly() {}

  /**
   * Runs it, and logs what it throws, errors included.
   *
   * @param what it is, for the log
   */
  static void run(String what, Runnable task) {
    try {
      task.run();
    } catch (Throwable e) {
      System.getLogger(Quietly.class.getName())
          .log(System.Logger.Level.WARNING, what + " failed", e);
    }
  }
}
