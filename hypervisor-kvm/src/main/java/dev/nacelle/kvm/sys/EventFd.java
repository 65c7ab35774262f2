// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/**
 * An eventfd(2): the kernel's doorbell, in both directions. Safe for use from several threads; a
 * signal that comes after close is dropped.
 */
public final class EventFd implements Pollable, AutoCloseable {
  // include/uapi/linux/eventfd.h
  private static final int EFD_NONBLOCK = 0x800;
  private static final int EFD_CLOEXEC = 0x80000;

  private final FileDescriptor descriptor;
  private boolean closed;

  /**
   * @throws ErrnoException when the host has no descriptor left
   */
  public EventFd() {
    int fd = Libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
      throw new ErrnoException("eventfd", Libc.errno());
    }
    descriptor = new FileDescriptor(fd, "eventfd");
  }

  /** Rings: adds one to the counter. A full counter (2^64 - 2) is as good as one that was rung. */
  public synchronized void signal() {
    // The lock keeps the number from becoming another file's between the check and the write.
    if (!closed && Libc.eventfd_write(descriptor.fd(), 1) < 0) {
      int errno = Libc.errno();
      if (errno != Errno.EAGAIN) {
        throw new ErrnoException("eventfd_write", errno);
      }
    }
  }

  @Override
  public FileDescriptor descriptor() {
    return descriptor;
  }

  @Override
  public synchronized void close() {
    closed = true;
    descriptor.close();
  }
}
