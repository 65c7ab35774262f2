// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.io.IOException;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** An attempt failed in a way that may pass. */
final class TransientException extends IOException {
  private static final long serialVersionUID = 1L;

  private final @Nullable Duration retryAfter;

  TransientException(String message, @Nullable Throwable cause) {
    this(message, null, cause);
  }

  /**
   * @param retryAfter for how long the server wants no other, if it said so
   */
  TransientException(String message, @Nullable Duration retryAfter, @Nullable Throwable cause) {
    super(message, cause);
    this.retryAfter = retryAfter;
  }

  @Nullable Duration retryAfter() {
    return retryAfter;
  }
}
