// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** A system call failed. Unchecked: callers that can do something about one errno ask for it. */
public final class ErrnoException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String call;
  private final int errno;

  /**
   * @param call the system call or ioctl, with what it was about
   * @param errno one of {@link Errno}
   */
  public ErrnoException(String call, int errno) {
    super(call + ": " + Errno.describe(errno));
    this.call = call;
    this.errno = errno;
  }

  /** The system call or ioctl, with what it was about. */
  public String call() {
    return call;
  }

  /** The error number, one of {@link Errno}. */
  public int errno() {
    return errno;
  }
}
