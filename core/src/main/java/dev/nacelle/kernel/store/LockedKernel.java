// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.kernel.KernelRef;

/**
 * What a lock file records of a kernel.
 *
 * @param kernel with a digest
 * @param release as {@code uname -r} prints it
 * @param architecture as {@code uname -m} prints it
 * @param source where it came from, for people
 */
record LockedKernel(KernelRef kernel, String release, String architecture, String source) {
  static LockedKernel of(ResolvedKernel kernel) {
    return new LockedKernel(
        kernel.pinnedRef(), kernel.version(), kernel.architecture(), kernel.source());
  }
}
