// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import java.io.IOException;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** An attempt failed in a way that may pass. */
final class TransientException extends IOException {
  private static final long serialVersionUID = 1L;

  private final ImageException.Reason reason;
  private final @Nullable Duration retryAfter;

  /** The network failed. */
  TransientException(String message, @Nullable Throwable cause) {
    this(ImageException.Reason.NETWORK, message, null, cause);
  }

  /**
   * @param reason what it comes to when no attempt is left
   * @param retryAfter for how long the server wants no other, if it said so
   */
  TransientException(
      ImageException.Reason reason,
      String message,
      @Nullable Duration retryAfter,
      @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
    this.retryAfter = retryAfter;
  }

  ImageException.Reason reason() {
    return reason;
  }

  @Nullable Duration retryAfter() {
    return retryAfter;
  }
}
