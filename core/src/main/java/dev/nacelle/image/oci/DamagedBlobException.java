// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.oci;

import dev.nacelle.ImageException;

/** A blob is not what its descriptor promised. */
@SuppressWarnings("serial") // descriptors are not serialized; nobody serializes these
public final class DamagedBlobException extends ImageException {
  private static final long serialVersionUID = 1L;

  private final transient Descriptor blob;

  DamagedBlobException(Descriptor blob, String message) {
    super(Reason.DAMAGED, message, "Get the image again.", null);
    this.blob = blob;
  }

  public Descriptor blob() {
    return blob;
  }
}
