// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.ImageException;
import dev.nacelle.image.oci.BlobSource;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.ImageResolver;
import java.io.Closeable;
import java.io.IOException;
import java.util.List;

/**
 * The place that a reference names, open for one look-up: a layout, an archive, a registry. Used by
 * one thread.
 */
public interface ImageOrigin extends BlobSource, Closeable {
  /**
   * The manifests and indexes that the reference may mean.
   *
   * @param resolver reads the indexes in which a digest is looked for
   * @throws ImageException when there are none
   */
  List<Descriptor> roots(ImageResolver resolver) throws IOException;

  /**
   * Says that layers will be opened soon, in this order; the origin may begin to get them. Layers
   * of an earlier call are not wanted any more.
   *
   * @param layers all layers of the image
   * @param from the first that is wanted, counted from 0
   */
  default void prefetch(List<Descriptor> layers, int from) throws IOException {}

  /**
   * Called while another process is waited for that makes the same image ready.
   *
   * @throws ImageException when that takes too long
   */
  default void checkDeadline() {}

  /**
   * Says that what was opened as this blob is damaged.
   *
   * @return whether there may be a better one now
   */
  default boolean discard(Descriptor blob) throws IOException {
    return false;
  }

  /** Gives up what still runs, and waits for its end. */
  @Override
  default void close() throws IOException {}
}
