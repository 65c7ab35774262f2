// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A file of a sandbox could not be read, written or changed. */
public class FileException extends NacelleException {
  private static final long serialVersionUID = 1L;

  /** What was wrong. More may be added: a {@code switch} has a default. */
  public enum Reason {
    /** There is no such file (ENOENT). */
    NOT_FOUND,
    /** There is one already (EEXIST). */
    EXISTS,
    /** A directory was meant, or stands in the path, and it is something else (ENOTDIR). */
    NOT_A_DIRECTORY,
    /** It is a directory (EISDIR). */
    IS_A_DIRECTORY,
    /** It is neither a regular file nor a directory: a FIFO, a device, a socket (ENXIO). */
    NOT_A_REGULAR_FILE,
    /** The directory is not empty (ENOTEMPTY). */
    NOT_EMPTY,
    /** Links lead in a circle, or through /proc out of the root (ELOOP). */
    LINKS,
    /** The filesystem or the kernel does not permit it (EACCES, EPERM, EROFS). */
    NOT_PERMITTED,
    /** The disk or the memory that holds it is full (ENOSPC, EDQUOT, ENOMEM, EFBIG). */
    NO_SPACE,
    /**
     * The path or its place is none where that can be done (EINVAL, ENAMETOOLONG, EBUSY, EXDEV).
     */
    INVALID,
    /** The time that was given for it is over. */
    TIMED_OUT,
    /** It is more than the {@linkplain GuestFiles#withLimit limit}. */
    TOO_LARGE,
    /** This host cannot have what the guest has: a name of two meanings, or of none. */
    UNREPRESENTABLE,
    /** A file of the host could not be read or written: the cause is that IOException. */
    HOST_FILE,
    /** Anything else that the guest's kernel said. */
    OTHER,
    /**
     * The guest does not have it in its power now: too many such calls, an agent that is too old.
     */
    REFUSED,
    /** The guest broke the contract between host and guest. */
    GUEST_MISBEHAVED
  }

  private final Reason reason;
  private final @Nullable String path;

  /**
   * @param reason what was wrong
   * @param path of the file in the guest, or null where it is about none
   * @param message the same for people
   * @param remedy what the caller can do, or null
   * @param cause what was caught, or null
   */
  public FileException(
      Reason reason,
      @Nullable String path,
      String message,
      @Nullable String remedy,
      @Nullable Throwable cause) {
    super(Stage.RUN, message, remedy, cause);
    this.reason = Objects.requireNonNull(reason);
    this.path = path;
  }

  /** What was wrong. */
  public Reason reason() {
    return reason;
  }

  /** The file in the guest that it is about, where it is about one. */
  public Optional<String> path() {
    return Optional.ofNullable(path);
  }
}
