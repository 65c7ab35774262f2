// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import java.nio.file.Path;

/**
 * An image that is ready to run: verified, unpacked and in the cache.
 *
 * @param ref what was asked for
 * @param digest of the manifest that was found for it
 * @param config what the image says of how to run it
 * @param filesystem an ext4 filesystem image with all its layers, in the cache; not to be changed
 */
public record ResolvedImage(ImageRef ref, Digest digest, ImageConfig config, Path filesystem) {
  /** What was asked for, pinned to what was found: it resolves to this image or to nothing. */
  public ImageRef pinnedRef() {
    return ref.withDigest(digest);
  }
}
