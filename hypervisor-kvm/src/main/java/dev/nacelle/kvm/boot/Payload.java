// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.Hardware;
import dev.nacelle.kvm.platform.MachineLayout;

/** What a virtual machine runs. */
@FunctionalInterface
public interface Payload {
  /**
   * Puts it into memory.
   *
   * @param memory all zero
   * @param hardware what the guest has to be told about
   * @return where it starts
   * @throws dev.nacelle.HypervisorException when it is no such payload or does not fit
   */
  InitialState load(GuestMemory memory, Hardware hardware);

  /**
   * Whether the machine has a PIT (8254), a thread of the host's kernel. Without it a guest has the
   * local APICs' timers.
   *
   * @param clockAndTimer whether KVM's clock and the TSC deadline timer are there
   */
  default boolean needsPit(boolean clockAndTimer) {
    return true;
  }

  /** Whether it can end its machine with a status, at {@link MachineLayout#EXIT_PORT}. */
  default boolean hasExitPort() {
    return false;
  }
}
