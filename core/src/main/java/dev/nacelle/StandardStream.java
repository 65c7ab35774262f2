// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/** An output of a process. */
public enum StandardStream {
  /** File descriptor 1; with a terminal, all that the process writes. */
  STDOUT,
  /** File descriptor 2. */
  STDERR
}
