// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

/**
 * A device behind a range of guest physical addresses. Called by vCPU threads, by several at once
 * where the guest has several: a device locks what it must.
 */
public interface MmioDevice {
  /**
   * The guest reads.
   *
   * @param offset from the start of the device's range; the whole access is inside
   * @param size 1, 2, 4 or 8 bytes
   * @return the value in the low bytes; the rest is ignored
   * @throws GuestFault ends the virtual machine
   */
  long read(long offset, int size);

  /**
   * The guest writes.
   *
   * @param offset from the start of the device's range; the whole access is inside
   * @param size 1, 2, 4 or 8 bytes
   * @param value in the low bytes; the rest is zero
   * @throws GuestFault ends the virtual machine
   */
  void write(long offset, int size, long value);
}
