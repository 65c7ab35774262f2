// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;

/**
 * What {@link Nacelle#pruneImages} or {@link Nacelle#pruneKernels} did.
 *
 * @param removed what went
 * @param freed its bytes, and those of what interrupted work had left half-made
 * @param left bytes of what is still there, what is half-downloaded included and names not
 * @param blobsInUse whether all blobs stayed because some process was looking an image up; of
 *     kernels, whether all stayed because some process was looking one up
 */
public record PruneResult(
    List<Removed> removed, DataSize freed, DataSize left, boolean blobsInUse) {
  /** Copies the list. */
  public PruneResult {
    removed = List.copyOf(removed);
  }

  /** What a file of the store is. */
  public enum Kind {
    /** A layer, configuration, manifest or index of a registry. */
    BLOB,
    /** All layers of an image, unpacked. */
    FILESYSTEM,
    /** What a reference meant when a registry, or apt, was last asked; digests of files. */
    NAME,
    /** A package that a kernel came in. */
    PACKAGE,
    /** A kernel that was unpacked, its modules, or what is known of it. */
    KERNEL,
    /** The initial filesystem that was made for a kernel. */
    INITRAMFS
  }

  /**
   * A file that went.
   *
   * @param name its name in the store: a blob's is its digest without the algorithm
   * @param size of the file
   */
  public record Removed(Kind kind, String name, DataSize size) {}
}
