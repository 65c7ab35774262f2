// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A lock file, in the manner of package managers: it records what references to kernels resolved
 * to, so that whoever has the file gets the same bytes, or an error.
 *
 * <p>It is JSON, one member for each reference, sorted, made to be kept under version control and
 * compared line by line. A reference with a digest of its own is not recorded, as it needs none;
 * every other one is, also {@code file:} and the default.
 *
 * <p>Several threads and several processes may use the same file: it is replaced in one step, under
 * a lock of the hidden file {@code .locks} beside it.
 *
 * <p>This says which file, and what is done with it. Immutable.
 */
public final class KernelLock {
  /** What happens to references. */
  public enum Mode {
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

  private final Path file;
  private final Mode mode;

  /**
   * @param file made by the first reference that is recorded, when it is absent
   */
  public KernelLock(Path file, Mode mode) {
    this.file = Objects.requireNonNull(file);
    this.mode = Objects.requireNonNull(mode);
  }

  /** The file. */
  public Path file() {
    return file;
  }

  /** What happens to references. */
  public Mode mode() {
    return mode;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof KernelLock lock && file.equals(lock.file) && mode == lock.mode;
  }

  @Override
  public int hashCode() {
    return Objects.hash(file, mode);
  }

  @Override
  public String toString() {
    return "KernelLock[" + file + ", " + mode + "]";
  }
}
