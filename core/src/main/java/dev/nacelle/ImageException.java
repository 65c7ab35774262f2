// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import org.jspecify.annotations.Nullable;

/**
 * An image could not be found, verified or unpacked. The caller can choose another image or mend
 * this one.
 */
public class ImageException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message what was wrong, and where: reference, digest, layer, path
   * @param remedy what the caller can do, or null
   * @param cause what was caught, or null
   */
  public ImageException(String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(Stage.IMAGE, message, remedy, cause);
  }
}
