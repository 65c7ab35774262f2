// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.kernel.KernelLockMode;
import java.nio.file.Path;
import java.util.Objects;

/**
 * Which lock file, and what is done with it.
 *
 * @param file made by the first reference that is recorded, when it is absent
 */
public record KernelLock(Path file, KernelLockMode mode) {
  /** Refuses null. */
  public KernelLock {
    Objects.requireNonNull(file);
    Objects.requireNonNull(mode);
  }
}
