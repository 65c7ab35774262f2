// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device;

/**
 * A device behind a range of I/O ports. Called by vCPU threads, by several at once where the guest
 * has several: a device locks what it must.
 */
public interface PioDevice {
  /**
   * The guest reads (IN, INS).
   *
   * @param offset from the device's first port; the whole access is inside
   * @param size 1, 2 or 4 bytes
   * @return the value in the low bytes; the rest is ignored
   * @throws GuestFault ends the virtual machine
   */
  int read(int offset, int size);

  /**
   * The guest writes (OUT, OUTS).
   *
   * @param offset from the device's first port; the whole access is inside
   * @param size 1, 2 or 4 bytes
   * @param value in the low bytes; the rest is zero
   * @throws GuestFault ends the virtual machine
   */
  void write(int offset, int size, int value);
}
