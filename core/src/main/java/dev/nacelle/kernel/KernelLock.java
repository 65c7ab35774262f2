// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import dev.nacelle.image.PullPolicy;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;

/**
 * A lock file, in the manner of package managers: it records what references to kernels resolved
 * to, so that whoever has the file gets the same bytes, or an error.
 *
 * <p>It is JSON, one member for each reference, sorted, made to be kept under version control and
 * compared line by line. A reference with a digest of its own is not recorded, as it needs none;
 * every other one is, also {@code file:} and the default.
 *
 * <p>Safe for use from several threads, and by several processes with the same file: it is replaced
 * in one step, under a lock of the hidden file {@code .locks} beside it.
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

  private final KernelLockFile file;
  private final Mode mode;

  /**
   * @param file made by the first reference that is recorded, when it is absent
   */
  public KernelLock(Path file, Mode mode) {
    this.file = new KernelLockFile(file);
    this.mode = Objects.requireNonNull(mode);
  }

  /**
   * Resolves a reference as the file and the mode have it.
   *
   * @param store where kernels are found and kept
   * @param fetchDeadline as {@link KernelStore#resolve(KernelRef, Duration, PullPolicy)} takes it
   * @param policy likewise
   * @return the kernel, of which {@link ResolvedKernel#ref} is pinned where the file knew it
   * @throws KernelException when it cannot be found or used, is not what the file has, or is
   *     unknown and not to be added; and when the file is damaged or cannot be written
   */
  public ResolvedKernel resolve(
      KernelRef ref, KernelStore store, Duration fetchDeadline, PullPolicy policy) {
    if (ref.digest().isPresent()) {
      return store.resolve(ref, fetchDeadline, policy);
    }
    Optional<LockedKernel> known = file.read(mode == Mode.FROZEN).get(ref);
    if (mode == Mode.UPDATE) {
      PullPolicy asking = policy == PullPolicy.NEVER ? policy : PullPolicy.ALWAYS;
      ResolvedKernel kernel = store.resolve(ref, fetchDeadline, asking);
      file.put(ref, LockedKernel.of(kernel), true);
      return kernel;
    }
    if (known.isEmpty()) {
      if (mode == Mode.FROZEN) {
        throw new KernelException(
            ref + " is not in the lock file " + file + ", which is frozen",
            "Resolve it once in the mode ADD, and keep what that writes to the file.",
            null);
      }
      ResolvedKernel kernel = store.resolve(ref, fetchDeadline, policy);
      LockedKernel added = LockedKernel.of(kernel);
      LockedKernel kept = file.put(ref, added, false);
      if (kept.equals(added)) {
        return kernel;
      }
      // Somebody else was faster, and found something else.
      known = Optional.of(kept);
    }
    return resolve(ref, known.get(), store, fetchDeadline, policy);
  }

  private ResolvedKernel resolve(
      KernelRef ref,
      LockedKernel locked,
      KernelStore store,
      Duration fetchDeadline,
      PullPolicy policy) {
    ResolvedKernel kernel;
    try {
      kernel = store.resolve(locked.kernel(), fetchDeadline, policy);
    } catch (KernelException e) {
      throw new KernelException(
          "The kernel that the lock file "
              + file
              + " has for "
              + ref
              + " ("
              + locked.release()
              + ", "
              + locked.source()
              + ") cannot be had: "
              + e.messageWithoutRemedy(),
          "Bring it back, or resolve " + ref + " once in the mode UPDATE to use what there is now.",
          e);
    }
    if (!locked.release().equals(kernel.version())
        || !locked.architecture().equals(kernel.architecture())) {
      throw new KernelException(
          "The lock file "
              + file
              + " disagrees with itself: "
              + locked.kernel()
              + " is "
              + kernel.version()
              + " for "
              + kernel.architecture()
              + ", and it says "
              + locked.release()
              + " for "
              + locked.architecture(),
          "Restore the file, or resolve " + ref + " once in the mode UPDATE.",
          null);
    }
    return kernel;
  }
}
