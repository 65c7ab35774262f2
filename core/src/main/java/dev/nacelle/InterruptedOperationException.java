// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

/**
 * The thread was interrupted while it waited. Its interrupt flag is set, and what it waited for was
 * given up as the method says.
 */
public class InterruptedOperationException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /**
   * @param stage where it happened
   * @param message what was waited for
   * @param cause what was caught
   */
  public InterruptedOperationException(Stage stage, String message, InterruptedException cause) {
    super(stage, message, null, cause);
  }
}
