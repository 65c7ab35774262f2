// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

/**
 * What happens to references to kernels where there is a lock file.
 *
 * <p>A lock file, in the manner of package managers, records what references resolved to, so that
 * whoever has the file gets the same bytes, or an error. It is JSON, one member for each reference,
 * sorted, made to be kept under version control and compared line by line. A reference with a
 * digest of its own is not recorded, as it needs none; every other one is, also {@code file:} and
 * the default.
 *
 * <p>Several threads and several processes may use the same file: it is replaced in one step, under
 * a lock of the hidden file {@code .locks} beside it.
 */
public enum KernelLockMode {
  /** A known one is what it was; an unknown one is resolved and recorded. */
  ADD,

  /** A known one is what it was; an unknown one is refused. The file is never written. */
  FROZEN,

  /**
   * Each is resolved anew and recorded, whenever it is asked for, as if the file did not know it;
   * for an image, its registry is asked.
   */
  UPDATE
}
