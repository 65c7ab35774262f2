// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.util.Objects;

/**
 * A driver that a guest's Linux kernel has for the devices of its machine: built in, or as a module
 * that the agent loads.
 *
 * @param option the kernel's option for it, without CONFIG_
 * @param module the module that it becomes when it is not built in, with '_' for '-'
 * @param use what it is for
 */
public record GuestDriver(String option, String module, Use use) {
  /** What a driver is for. */
  public enum Use {
    /** Finds the machine's devices. */
    BUS,
    /** Reaches the host: AF_VSOCK's transport. */
    CONNECTION,
    /** The disks. */
    DISK,
    /** Random numbers; used where the kernel has it, and not missed elsewhere. */
    ENTROPY,
    /** Gives back memory that the guest does not use; used and missed likewise. */
    MEMORY
  }

  public GuestDriver {
    if (!option.matches("[A-Z0-9_]{1,64}") || !module.matches("[a-z0-9_]{1,64}")) {
      throw new IllegalArgumentException("no driver of Linux: " + option + ", " + module);
    }
    Objects.requireNonNull(use);
  }
}
