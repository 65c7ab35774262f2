// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/** What becomes of a process that writes more than its {@link ProcessSpec#outputLimit()}. */
public enum OnLimit {
  /** It goes on, and what it writes beyond is read and dropped. */
  TRUNCATE,
  /** It is killed with all that it started; what it wrote up to the limit is kept. */
  KILL
}
