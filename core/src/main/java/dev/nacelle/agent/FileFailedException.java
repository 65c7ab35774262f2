// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.internal.FileNames;
import dev.nacelle.proto.agent.v1.FileFailure;

/** The guest could not do what it was asked to do with a file, and said why. */
public final class FileFailedException extends Exception {
  private static final long serialVersionUID = 1L;

  private final int errno;
  private final String path;

  FileFailedException(FileFailure failure) {
    super(GuestText.clean(failure.getMessage()));
    errno = failure.getErrno();
    path = FileNames.decode(failure.getPath().toByteArray());
  }

  /** Linux's errno(3). */
  public int errno() {
    return errno;
  }

  /** Which file it is about, in the guest's words; empty for none. */
  public String path() {
    return path;
  }
}
