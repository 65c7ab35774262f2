// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * An image could not be found, fetched, verified or unpacked. {@link #reason()} says what kind of
 * remedy helps; the message and {@link #remedy()} say which.
 */
public class ImageException extends NacelleException {
  private static final long serialVersionUID = 1L;

  private final Reason reason;

  /**
   * What kind of thing stood in the way, by what a caller can do about it. More may be added: a
   * {@code switch} has a default.
   */
  public enum Reason {
    /** There is no such image, tag, digest or file: name another. */
    NOT_FOUND,
    /** It is not in the cache, and the pull policy is NEVER: prepare it first. */
    NOT_PULLED,
    /** The registry wants a login, or refuses the one it got: log in. */
    UNAUTHORIZED,
    /**
     * No registry or mirror could be reached, all failed (status 408, 425, 5xx) or were too slow,
     * after all attempts: try again later. What was downloaded is kept.
     */
    NETWORK,
    /** The registry wants fewer requests (status 429): try again later, or log in. */
    RATE_LIMITED,
    /** The connection is without TLS or its certificate not trusted: see RegistryOptions. */
    UNTRUSTED,
    /** The registry, or a redirect of it, answers as none should: tell whoever runs it. */
    REGISTRY_FAULT,
    /** Credentials or certificates on this machine cannot be used: mend or replace them. */
    CONFIGURATION,
    /** A digest does not match, or what is in the image is malformed: have it built anew. */
    DAMAGED,
    /** It is larger than a limit of Nacelle's allows. */
    TOO_LARGE,
    /** It is for other platforms only: choose one that was built for this. */
    WRONG_PLATFORM,
    /** It is no container image, or of a form that is not taken: convert it. */
    UNSUPPORTED,
    /** What is copied is being changed: try again. */
    CHANGING,
    /** There are several images, and the reference does not say which: add a tag or digest. */
    AMBIGUOUS,
    /**
     * A file or directory of this machine, the cache or an archive, cannot be read or written, or
     * its disk is full: make room, or mend the permissions.
     */
    HOST_DISK
  }

  /**
   * For Nacelle, and for tests of programs that use it.
   *
   * @param reason what kind of thing stood in the way
   * @param message what was wrong, and where: reference, digest, layer, path
   * @param remedy what the caller can do, as a full sentence, or null
   * @param cause what was caught, or null
   */
  public ImageException(
      Reason reason, String message, @Nullable String remedy, @Nullable Throwable cause) {
    super(Stage.IMAGE, message, remedy, cause);
    this.reason = Objects.requireNonNull(reason);
  }

  /** What kind of thing stood in the way. */
  public final Reason reason() {
    return reason;
  }

  /** True for {@link Reason#NETWORK}, {@link Reason#RATE_LIMITED} and {@link Reason#CHANGING}. */
  @Override
  public boolean isTransient() {
    return reason == Reason.NETWORK || reason == Reason.RATE_LIMITED || reason == Reason.CHANGING;
  }
}
