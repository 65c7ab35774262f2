// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.ImageException;
import dev.nacelle.image.oci.ImageLimits;
import java.io.IOException;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;

/** A tree of files in which images are: a directory or an archive. */
interface ImageFiles {
  /**
   * The content of a file, or null where there is none.
   *
   * @param name relative, with slashes
   */
  @Nullable InputStream open(String name) throws IOException;

  /** What to call it in errors. */
  @Override
  String toString();

  /** A document, read and bounded; null where there is none. */
  default byte @Nullable [] read(String name, ImageLimits limits) throws IOException {
    try (InputStream in = open(name)) {
      if (in == null) {
        return null;
      }
      byte[] bytes = in.readNBytes((int) limits.jsonSize().bytes());
      if (in.read() >= 0) {
        throw new ImageException(
            ImageException.Reason.TOO_LARGE,
            this + "/" + name + " has more than the limit of " + limits.jsonSize(),
            null,
            null);
      }
      return bytes;
    }
  }
}
