// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.ImageException;
import java.io.IOException;
import java.io.InputStream;

/**
 * Where the blobs of images come from. What it returns is checked against the descriptor by whoever
 * reads it, so a source checks nothing.
 */
public interface BlobSource {
  /**
   * The content of a blob.
   *
   * @throws ImageException when there is none
   */
  InputStream open(Descriptor blob) throws IOException;

  /** What to call it in errors. */
  @Override
  String toString();
}
