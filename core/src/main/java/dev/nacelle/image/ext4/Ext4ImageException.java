// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.io.IOException;

/** A file is no image that an {@link Ext4Writer} finished, or a damaged one. */
public final class Ext4ImageException extends IOException {
  private static final long serialVersionUID = 1L;

  Ext4ImageException(String message) {
    super(message);
  }
}
