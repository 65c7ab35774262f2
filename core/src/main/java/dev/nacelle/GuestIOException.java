// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.IOException;

/**
 * A stream of a sandbox's broke off: its process or its sandbox has ended, its connection was
 * reset, or it was closed; or a connection could not be made. Tells the guest's failure from that
 * of a file or socket that the bytes come from or go to, as in {@code
 * process.stdout().transferTo(response)}. Where the sandbox has ended, {@link #getCause()} is the
 * {@link SandboxEndedException} that every other call gets.
 */
public class GuestIOException extends IOException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message what happened, for people
   */
  public GuestIOException(String message) {
    super(message);
  }

  /**
   * @param message what happened, for people
   * @param cause what was caught
   */
  public GuestIOException(String message, Throwable cause) {
    super(message, cause);
  }
}
