// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.io.Serializable;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Why a sandbox ended. Of several causes it is the first: a guest that dies while its sandbox is
 * being closed does not make it a crash. Immutable.
 */
public final class SandboxExit implements Serializable {
  private static final long serialVersionUID = 1L;

  /** Who ended it, and how. More may be added: a {@code switch} has a default. */
  public enum Reason {
    /** {@link Sandbox#close()}, or {@link Nacelle#close()}. */
    CLOSED,
    /** {@link Sandbox#kill()}. */
    KILLED,
    /** {@link SandboxSpec#maxLifetime()} was over. */
    LIFETIME,
    /** {@link SandboxSpec#idleTimeout()} was over. */
    IDLE,
    /** The guest powered itself off, or said that it can run nothing any more. */
    GUEST_ENDED,
    /**
     * The guest's kernel panicked or asked for a reset, its processor stopped, or it broke a
     * device's rules; {@link SandboxExit#machine()} says which.
     */
    GUEST_CRASHED,
    /** The guest's agent closed the connection, or was silent for too long. */
    CONNECTION_LOST,
    /** The host failed: an ioctl, a disk's file. */
    HOST_FAILED
  }

  private final Reason reason;
  private final String detail;
  private final transient @Nullable VmExit machine;

  private SandboxExit(Reason reason, String detail, @Nullable VmExit machine) {
    this.reason = Objects.requireNonNull(reason);
    this.detail = Objects.requireNonNull(detail);
    this.machine = machine;
  }

  /**
   * An end of which the machine's is not known.
   *
   * @param detail as {@link #detail()}
   */
  public static SandboxExit of(Reason reason, String detail) {
    return new SandboxExit(reason, detail, null);
  }

  /**
   * An end with the machine's.
   *
   * @param detail as {@link #detail()}
   */
  public static SandboxExit of(Reason reason, String detail, VmExit machine) {
    return new SandboxExit(reason, detail, Objects.requireNonNull(machine));
  }

  /** For programs. */
  public Reason reason() {
    return reason;
  }

  /**
   * For people: one line that goes on after the sandbox's name, such as {@code was closed}. It may
   * hold what the guest said, without control characters.
   */
  public String detail() {
    return detail;
  }

  /**
   * How the machine ended, where that is known: always in {@link Sandbox#onExit()}; in a {@link
   * SandboxEndedException} when the machine had ended by then; not after serialization. Where the
   * sandbox was closed, the machine may have been closed as well or have powered itself off when it
   * was asked to.
   */
  public Optional<VmExit> machine() {
    return Optional.ofNullable(machine);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof SandboxExit exit
        && reason == exit.reason
        && detail.equals(exit.detail)
        && Objects.equals(machine, exit.machine);
  }

  @Override
  public int hashCode() {
    return Objects.hash(reason, detail, machine);
  }

  @Override
  public String toString() {
    return reason + ": " + detail;
  }
}
