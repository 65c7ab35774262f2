// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** Error numbers of x86-64 Linux (asm-generic/errno-base.h, errno.h) that mean something here. */
public final class Errno {
  public static final int EPERM = 1;
  public static final int ENOENT = 2;
  public static final int EINTR = 4;
  public static final int EIO = 5;
  public static final int ENXIO = 6;
  public static final int E2BIG = 7;
  public static final int EBADF = 9;
  public static final int EAGAIN = 11;
  public static final int ENOMEM = 12;
  public static final int EACCES = 13;
  public static final int EFAULT = 14;
  public static final int EBUSY = 16;
  public static final int EEXIST = 17;
  public static final int ENODEV = 19;
  public static final int EISDIR = 21;
  public static final int EINVAL = 22;
  public static final int ENFILE = 23;
  public static final int EMFILE = 24;
  public static final int ENOTTY = 25;
  public static final int EFBIG = 27;
  public static final int ENOSPC = 28;
  public static final int EROFS = 30;
  public static final int ENOLCK = 37;
  public static final int ENOSYS = 38;
  public static final int EOPNOTSUPP = 95;
  public static final int ECANCELED = 125;
  public static final int EHWPOISON = 133;

  private Errno() {}

  /** The number as a person knows it: its name and meaning, or the bare number. */
  public static String describe(int errno) {
    return switch (errno) {
      case EPERM -> "EPERM (operation not permitted)";
      case ENOENT -> "ENOENT (no such file or directory)";
      case EINTR -> "EINTR (interrupted)";
      case EIO -> "EIO (input/output error)";
      case ENXIO -> "ENXIO (no such device or address)";
      case E2BIG -> "E2BIG (list too long)";
      case EBADF -> "EBADF (bad file descriptor)";
      case EAGAIN -> "EAGAIN (not now)";
      case ENOMEM -> "ENOMEM (out of memory)";
      case EACCES -> "EACCES (permission denied)";
      case EFAULT -> "EFAULT (bad address)";
      case EBUSY -> "EBUSY (busy)";
      case EEXIST -> "EEXIST (exists already)";
      case ENODEV -> "ENODEV (no such device)";
      case EISDIR -> "EISDIR (is a directory)";
      case EINVAL -> "EINVAL (invalid argument)";
      case ENFILE -> "ENFILE (too many open files on this host)";
      case EMFILE -> "EMFILE (too many open files in this process)";
      case ENOTTY -> "ENOTTY (not supported by this device)";
      case EFBIG -> "EFBIG (file too large)";
      case ENOSPC -> "ENOSPC (no space left)";
      case EROFS -> "EROFS (read-only file system)";
      case ENOLCK -> "ENOLCK (no locks here)";
      case EOPNOTSUPP -> "EOPNOTSUPP (not supported by this file system)";
      case ECANCELED -> "ECANCELED (cancelled)";
      case ENOSYS -> "ENOSYS (not supported by this kernel)";
      case EHWPOISON -> "EHWPOISON (memory has a hardware error)";
      default -> "errno " + errno;
    };
  }
}
