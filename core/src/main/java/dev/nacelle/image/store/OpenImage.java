// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.store;

import dev.nacelle.DataSize;
import dev.nacelle.ImageException;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.layer.LayerReader;
import dev.nacelle.image.layer.RootFiles;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.Manifest;
import dev.nacelle.image.origin.ImageOrigin;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;

/** An image that was found, while {@link ImageStore#read} has it open. Used by one thread. */
public final class OpenImage {
  private final ImageRef ref;
  private final ImageOrigin origin;
  private final Manifest manifest;
  private final ImageLimits limits;

  OpenImage(ImageRef ref, ImageOrigin origin, Manifest manifest, ImageLimits limits) {
    this.ref = ref;
    this.origin = origin;
    this.manifest = manifest;
    this.limits = limits;
  }

  /** What was asked for. */
  public ImageRef ref() {
    return ref;
  }

  /** Of the manifest that was found for it. */
  public Digest digest() {
    return manifest.descriptor().digest();
  }

  /**
   * Copies files out of the image's root directory, as they are once all layers are applied. All
   * layers are read and verified for that.
   *
   * @param files where each goes, by its name in the image; what is there is overwritten
   * @param maxSize how large each may be
   * @return the names that are in the image; no file is at the places of the others
   * @throws ImageException when a layer is damaged or beyond a limit, a file is too large, or
   *     something of such a name is no regular file
   * @throws IOException when the image cannot be read, or a file not be written
   */
  public Set<String> copyFiles(Map<String, Path> files, DataSize maxSize) throws IOException {
    origin.prefetch(manifest.layers(), 0);
    RootFiles copies = new RootFiles(files, maxSize, limits.entries());
    new LayerReader(origin, manifest, limits).read(0, copies);
    return copies.finish(ref.toString());
  }

  Manifest manifest() {
    return manifest;
  }

  ImageOrigin origin() {
    return origin;
  }
}
