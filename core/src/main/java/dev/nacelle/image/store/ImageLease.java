// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.internal.FileCache;

/**
 * An image that stays in its store as long as this is open, whoever {@linkplain ImageStore#prune
 * prunes} it, and at the longest as long as this process lives. Safe for use from several threads.
 */
public final class ImageLease implements AutoCloseable {
  private final ResolvedImage image;
  private final FileCache.Lease filesystem;

  ImageLease(ResolvedImage image, FileCache.Lease filesystem) {
    this.image = image;
    this.filesystem = filesystem;
  }

  /** The image. */
  public ResolvedImage image() {
    return image;
  }

  /** Gives it back. Idempotent; does not throw. */
  @Override
  public void close() {
    filesystem.close();
  }
}
