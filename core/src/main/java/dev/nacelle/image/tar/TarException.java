// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.tar;

import java.io.IOException;

/** The bytes are no tar archive, a damaged or truncated one, or one beyond a limit. */
public final class TarException extends IOException {
  private static final long serialVersionUID = 1L;

  TarException(String message) {
    super(message);
  }
}
