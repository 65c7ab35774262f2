// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import org.jspecify.annotations.Nullable;

/**
 * A kernel could not be found, read or used. The caller can choose another kernel or mend this one.
 */
public class KernelException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message what was wrong, and where: file, section, offset, option
   * @param remedy what the caller can do, or null
   * @param cause what was caught, or null
   */
  public KernelException(String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(Stage.KERNEL, message, remedy, cause);
  }
}
