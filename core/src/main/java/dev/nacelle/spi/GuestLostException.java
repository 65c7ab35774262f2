// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.io.IOException;

/**
 * A connection broke, or was not made, because its guest has none any more: the machine has ended,
 * or the guest has reset its socket device. Tells that from a connection that its peer has reset.
 */
public final class GuestLostException extends IOException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message what happened to the machine, for people
   */
  public GuestLostException(String message) {
    super(message);
  }
}
