// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/** Whom a signal to a process of a sandbox reaches. */
public enum SignalScope {
  /** The process alone. */
  PROCESS,
  /** Its process group, as kill(2) with a negative number. */
  GROUP,
  /**
   * The process and everything that it started and that still runs, in whatever session, also after
   * its own end. {@link Signal#KILL} is sent to all at once by guests with Linux 5.14 or newer:
   * nobody escapes it by forking. Other signals reach one after the other.
   */
  TREE
}
