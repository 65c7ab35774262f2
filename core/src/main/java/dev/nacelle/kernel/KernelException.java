// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel;

import dev.nacelle.NacelleException;
import dev.nacelle.Stage;
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

  /** A failure of something else that a kernel needed; its remedy is this one's. */
  static KernelException of(String what, NacelleException cause) {
    return new KernelException(
        what + ": " + withoutRemedy(String.valueOf(cause.getMessage()), cause.remedy()),
        cause.remedy(),
        cause);
  }

  /** What was wrong, to be told with another remedy. */
  String messageWithoutRemedy() {
    return withoutRemedy(String.valueOf(getMessage()), remedy());
  }

  private static String withoutRemedy(String message, @Nullable String remedy) {
    return remedy != null && message.endsWith(". " + remedy)
        ? message.substring(0, message.length() - remedy.length() - 2)
        : message;
  }
}
