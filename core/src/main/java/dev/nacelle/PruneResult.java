// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;

/**
 * What {@link Nacelle#pruneImages} did.
 *
 * @param removed what went
 * @param freed its bytes, and those of what interrupted work had left half-made
 * @param left bytes of the blobs and filesystems that are still there, half-downloaded blobs
 *     included
 * @param blobsInUse whether all blobs stayed because some process was looking an image up
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
    /** What a reference meant when a registry was last asked. */
    NAME
  }

  /**
   * A file that went.
   *
   * @param name its name in the store: a blob's is its digest without the algorithm
   * @param size of the file
   */
  public record Removed(Kind kind, String name, DataSize size) {}
}
