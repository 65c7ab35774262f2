// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;

/** A figure cannot be taken of an image, which is nobody's failure. */
final class Missing extends IOException {
  private static final long serialVersionUID = 1L;

  Missing(String message) {
    super(message);
  }
}
