// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** Why a virtual machine ended. Immutable. */
public final class VmExit {
  /** Who ended it, and how. More may be added: a {@code switch} has a default. */
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

  private final Reason reason;
  private final String detail;
  private final OptionalInt status;

  private VmExit(Reason reason, String detail, OptionalInt status) {
    this.reason = Objects.requireNonNull(reason);
    this.detail = Objects.requireNonNull(detail);
    this.status = status;
  }

  /**
   * An end without a status.
   *
   * @param detail as {@link #detail()}
   */
  public static VmExit of(Reason reason, String detail) {
    return new VmExit(reason, detail, OptionalInt.empty());
  }

  /**
   * {@link Reason#EXITED}.
   *
   * @param status as {@link #status()}
   * @param detail as {@link #detail()}
   */
  public static VmExit exited(int status, String detail) {
    return new VmExit(Reason.EXITED, detail, OptionalInt.of(status));
  }

  /** For programs. */
  public Reason reason() {
    return reason;
  }

  /** For people: one line that says what happened, and where. */
  public String detail() {
    return detail;
  }

  /** The guest's exit status, where the reason is {@link Reason#EXITED}. */
  public OptionalInt status() {
    return status;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof VmExit exit
        && reason == exit.reason
        && detail.equals(exit.detail)
        && status.equals(exit.status);
  }

  @Override
  public int hashCode() {
    return Objects.hash(reason, detail, status);
  }

  @Override
  public String toString() {
    return reason + ": " + detail;
  }
}
