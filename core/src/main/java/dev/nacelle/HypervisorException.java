// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import org.jspecify.annotations.Nullable;

/**
 * A hypervisor cannot do what was asked: the host lacks something, or the specification cannot be
 * met.
 */
public class HypervisorException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /**
   * @param stage {@link Stage#HOST} when this host cannot, {@link Stage#CREATE} when this machine
   *     cannot
   * @param message what failed: the call, the device, the file
   * @param remedy what the caller can do, or null
   * @param cause what was caught, or null
   */
  public HypervisorException(
      Stage stage, String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(stage, message, remedy, cause);
  }
}
