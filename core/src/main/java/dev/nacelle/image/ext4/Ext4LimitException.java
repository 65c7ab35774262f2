// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.io.IOException;

/** What is to be written is more than an ext4 filesystem can hold. */
public final class Ext4LimitException extends IOException {
  private static final long serialVersionUID = 1L;

  Ext4LimitException(String message) {
    super(message);
  }
}
