// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.HypervisorException;
import java.util.List;

/** An opened hypervisor: creates virtual machines. Safe for use from several threads. */
public interface Hypervisor extends AutoCloseable {
  /**
   * Builds a virtual machine up to, but not including, its first instruction.
   *
   * @throws HypervisorException when the specification cannot be met or the host refuses; nothing
   *     is left behind
   */
  VirtualMachine create(VmSpec spec);

  /**
   * How the guest of such a machine finds its disks, in the order of {@link VmSpec#disks()}: each
   * in a way of its own. Of no other effect.
   */
  List<GuestDisk> guestDisks(VmSpec spec);

  /** How disks that begin empty are to be made for its machines. */
  default DiskFormat diskFormat() {
    return DiskFormat.RAW;
  }

  /**
   * Closes all virtual machines that are still open, at the same time, then releases the
   * hypervisor. Nothing is left then of machines that were closed before, either. Idempotent. Takes
   * as long as the slowest, with the limits of {@link VirtualMachine#close()}.
   */
  @Override
  void close();
}
