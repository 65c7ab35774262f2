// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import dev.nacelle.KernelException;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.kernel.KernelLockMode;
import dev.nacelle.kernel.KernelRef;
import java.time.Duration;
import java.util.Optional;

/** Kernels as a {@link KernelLock} has them. Safe for use from several threads and processes. */
public final class LockedKernels {
  private final KernelLockFile file;
  private final KernelLockMode mode;
  private final KernelStore store;

  /**
   * @param store where kernels are found and kept
   */
  public LockedKernels(KernelLock lock, KernelStore store) {
    this.file = new KernelLockFile(lock.file());
    this.mode = lock.mode();
    this.store = store;
  }

  /**
   * Resolves a reference as the file and the mode have it.
   *
   * @param fetchDeadline as {@link KernelStore#resolve(KernelRef, Duration, PullPolicy)} takes it
   * @param policy likewise
   * @return the kernel, of which {@link ResolvedKernel#ref} is pinned where the file knew it
   * @throws KernelException when it cannot be found or used, is not what the file has, or is
   *     unknown and not to be added; and when the file is damaged or cannot be written
   */
  public ResolvedKernel resolve(KernelRef ref, Duration fetchDeadline, PullPolicy policy) {
    if (ref.digest().isPresent()) {
      return store.resolve(ref, fetchDeadline, policy);
    }
    Optional<LockedKernel> known = file.read(mode == KernelLockMode.FROZEN).get(ref);
    if (mode == KernelLockMode.UPDATE) {
      PullPolicy asking = policy == PullPolicy.NEVER ? policy : PullPolicy.ALWAYS;
      ResolvedKernel kernel = store.resolve(ref, fetchDeadline, asking);
      file.put(ref, LockedKernel.of(kernel), true);
      return kernel;
    }
    if (known.isEmpty()) {
      if (mode == KernelLockMode.FROZEN) {
        throw new KernelException(
            KernelException.Reason.NOT_IN_LOCK,
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
    return resolve(ref, known.get(), fetchDeadline, policy);
  }

  private ResolvedKernel resolve(
      KernelRef ref, LockedKernel locked, Duration fetchDeadline, PullPolicy policy) {
    ResolvedKernel kernel;
    try {
      kernel = store.resolve(locked.kernel(), fetchDeadline, policy);
    } catch (KernelException e) {
      throw new KernelException(
          e.reason(),
          "The kernel that the lock file "
              + file
              + " has for "
              + ref
              + " ("
              + locked.release()
              + ", "
              + locked.source()
              + ") cannot be had: "
              + Remedies.without(e),
          "Bring it back, or resolve " + ref + " once in the mode UPDATE to use what there is now.",
          e);
    }
    if (!locked.release().equals(kernel.version())
        || !locked.architecture().equals(kernel.architecture())) {
      throw new KernelException(
          KernelException.Reason.LOCK_UNUSABLE,
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
