// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.memory;

/**
 * The guest named memory that it does not have, or an address that is not aligned as it must be.
 */
public final class GuestAddressException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  GuestAddressException(String problem, long address, long length) {
    super(
        problem
            + ": "
            + Long.toUnsignedString(length)
            + " bytes at guest physical address 0x"
            + Long.toHexString(address));
  }
}
