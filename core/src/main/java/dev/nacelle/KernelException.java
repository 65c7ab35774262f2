// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A kernel could not be found, fetched, read or used. {@link #reason()} says what kind of remedy
 * helps; the message and {@link #remedy()} say which.
 */
public class KernelException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final Reason reason;

  /**
   * What kind of thing stood in the way, by what a caller can do about it. More may be added: a
   * {@code switch} has a default.
   */
  public enum Reason {
    /** There is no such kernel: no file, package, artifact or image. */
    NOT_FOUND,
    /**
     * Its package or image could not be downloaded, for the network or a server failed or was too
     * slow: try again later. What was downloaded is kept.
     */
    NETWORK,
    /**
     * The image that it is in cannot be had, for a reason of the registry's or of how it is asked
     * (login, trust, configuration): see the reason of the {@link ImageException} that is the
     * cause.
     */
    IMAGE,
    /** A digest does not match, or what is in the file is malformed: fetch it again. */
    DAMAGED,
    /** It is larger than a limit of Nacelle's allows. */
    TOO_LARGE,
    /** It is no Linux kernel for x86-64, or of a form that is not taken: use another build. */
    UNSUPPORTED,
    /** It was built without an option or a module that is needed: use another, or ask for less. */
    LACKS_OPTION,
    /**
     * What there is now is not what the reference is pinned to: change the pin, or bring it back.
     */
    PIN_DIFFERS,
    /** The lock file is frozen and does not know it, or is not there: resolve it in mode ADD. */
    NOT_IN_LOCK,
    /** The lock file cannot be read or written, or contradicts itself: restore it. */
    LOCK_UNUSABLE,
    /** The file changes while it is read, as a build that still writes it does: try again. */
    CHANGING,
    /** This machine lacks a program that fetches such kernels: apt. Name another kernel. */
    HOST_LACKS_TOOL,
    /**
     * A file or directory of this machine, the cache above all, cannot be read or written, or its
     * disk is full: make room, or mend the permissions.
     */
    HOST_DISK
  }

  /**
   * For Nacelle, and for tests of programs that use it.
   *
   * @param reason what kind of thing stood in the way
   * @param message what was wrong, and where: file, section, offset, option
   * @param remedy what the caller can do, as a full sentence, or null
   * @param cause what was caught, or null
   */
  public KernelException(
      Reason reason, String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(Stage.KERNEL, message, remedy, cause);
    this.reason = Objects.requireNonNull(reason);
  }

  /** What kind of thing stood in the way. */
  public final Reason reason() {
    return reason;
  }

  /** True for {@link Reason#NETWORK} and {@link Reason#CHANGING}. */
  @Override
  public boolean isTransient() {
    return reason == Reason.NETWORK || reason == Reason.CHANGING;
  }
}
