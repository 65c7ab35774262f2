// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import org.jspecify.annotations.Nullable;

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

  /** What helps where the host refuses something; null where that is not known. */
  public @Nullable String remedy() {
    return switch (errno) {
      case Errno.EMFILE -> "Raise this process's limit of open files (ulimit -n).";
      case Errno.ENFILE -> "Raise this host's limit of open files (sysctl fs.file-max).";
      case Errno.ENOMEM -> "Free some of the host's memory, or give the virtual machine less.";
      case Errno.EBUSY ->
          "If another hypervisor (VirtualBox, VMware) is running on this host, end it.";
      default -> null;
    };
  }
}
