// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;

/**
 * The C library's functions as x86-64 Linux declares them. {@code long} stands for pointers, {@code
 * size_t}, {@code off_t} and {@code long} alike.
 */
final class Libc {
  static {
    // The process, not "c": where pthreads and libc are two libraries, both are searched.
    Native.register(Libc.class, NativeLibrary.getProcess());
  }

  private Libc() {}

  /** {@code errno} of the last call on this thread; meaningful only after a call that failed. */
  static int errno() {
    return Native.getLastError();
  }

  static native int open(byte[] path, int flags, int mode);

  static native int close(int fd);

  static native int ioctl(int fd, long request, long argument);

  static native long pread(int fd, long buffer, long count, long offset);

  static native long pread(int fd, byte[] buffer, long count, long offset);

  static native long preadv(int fd, long vector, int count, long offset);

  static native long pwritev(int fd, long vector, int count, long offset);

  static native int fallocate(int fd, int mode, long offset, long length);

  /** Declared with three dots, which on x86-64 makes no difference to an integer or pointer. */
  static native int fcntl(int fd, int command, long argument);

  static native int poll(long descriptors, long count, int timeoutMillis);

  static native long lseek(int fd, long offset, int whence);

  static native int fdatasync(int fd);

  static native long mmap(
      long address, long length, int protection, int flags, int fd, long offset);

  static native int munmap(long address, long length);

  static native int madvise(long address, long length, int advice);

  static native int mincore(long address, long length, byte[] pages);

  static native int eventfd(int initial, int flags);

  static native int eventfd_write(int fd, long value);

  static native int epoll_create1(int flags);

  static native int epoll_ctl(int epoll, int operation, int fd, long event);

  static native int epoll_wait(int epoll, long events, int capacity, int timeoutMillis);

  /** For what older C libraries have no function for (gettid, tgkill), or a wrong one for us. */
  static native long syscall(long number, long a, long b, long c, long d);

  static native long syscall(long number, long a, long b, long c, long d, long e, long f);
}
