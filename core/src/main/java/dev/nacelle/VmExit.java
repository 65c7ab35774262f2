// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.OptionalInt;

/**
 * Why a virtual machine ended.
 *
 * @param reason for programs
 * @param detail for people: one line that says what happened, and where
 * @param status the guest's exit status, where the reason is {@link Reason#EXITED}
 */
public record VmExit(Reason reason, String detail, OptionalInt status) {
  /** An end without a status. */
  public VmExit(Reason reason, String detail) {
    this(reason, detail, OptionalInt.empty());
  }

  /** Who ended it, and how. */
  public enum Reason {
    /** The guest powered itself off. */
    POWER_OFF,
    /** The guest, which is not Linux, ended itself with a status. */
    EXITED,
    /** The guest asked for a reset: a reboot, or a panic with {@code panic=-1}. */
    RESET,
    /**
     * The guest's processor stopped: a triple fault, or an instruction that the host cannot run.
     */
    CRASHED,
    /**
     * The guest broke a device's rules (a malformed descriptor, an access no driver makes); the
     * detail names the device.
     */
    GUEST_FAULT,
    /** The host ended it. */
    CLOSED,
    /** The host failed: an ioctl, a disk's file. */
    HOST_ERROR
  }
}
