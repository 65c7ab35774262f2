// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.charset.Charset;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Owns one file descriptor. Closing is idempotent and safe from any thread, but must not race with
 * a use: the number may already be somebody else's. Whoever closes stops the users first.
 */
public final class FileDescriptor implements AutoCloseable {
  // include/uapi/asm-generic/fcntl.h
  private static final int O_RDONLY = 0;
  private static final int O_RDWR = 2;
  private static final int O_CLOEXEC = 0x80000;
  private static final int SEEK_END = 2;

  private static final int CLOSED = -1;

  private final AtomicInteger fd;
  private final String name;

  FileDescriptor(int fd, String name) {
    this.fd = new AtomicInteger(fd);
    this.name = name;
  }

  /**
   * Opens an existing file or device; not inherited by child processes.
   *
   * @throws ErrnoException when it cannot be opened
   */
  public static FileDescriptor open(Path path, boolean writable) {
    // As the JDK encodes file names, which need not be UTF-8.
    String encoding = System.getProperty("sun.jnu.encoding", "UTF-8");
    byte[] bytes = (path + "\0").getBytes(Charset.forName(encoding));
    int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    while (true) {
      int fd = Libc.open(bytes, flags, 0);
      if (fd >= 0) {
        return new FileDescriptor(fd, path.toString());
      }
      int errno = Libc.errno();
      if (errno != Errno.EINTR) {
        throw new ErrnoException("open " + path, errno);
      }
    }
  }

  /**
   * The number.
   *
   * @throws IllegalStateException when closed
   */
  public int fd() {
    int number = fd.get();
    if (number == CLOSED) {
      throw new IllegalStateException("closed: " + name);
    }
    return number;
  }

  /** What it is open on, for messages. */
  public String name() {
    return name;
  }

  /** The size of the file or block device in bytes. */
  public long size() {
    long size = Libc.lseek(fd(), 0, SEEK_END);
    if (size < 0) {
      throw new ErrnoException("lseek " + name, Libc.errno());
    }
    return size;
  }

  /**
   * Reads at a position of the file until the buffer is full or the file ends.
   *
   * @return the number of bytes read; less than the buffer's length only at the end of the file
   */
  public int readAt(long position, byte[] buffer) {
    int done = 0;
    while (done < buffer.length) {
      byte[] rest = done == 0 ? buffer : new byte[buffer.length - done];
      long n = Libc.pread(fd(), rest, rest.length, position + done);
      if (n < 0) {
        retryOrThrow("pread");
      } else if (n == 0) {
        return done;
      } else {
        if (done > 0) {
          System.arraycopy(rest, 0, buffer, done, (int) n);
        }
        done += (int) n;
      }
    }
    return done;
  }

  /**
   * Reads from the file straight into mapped memory until the length is reached or the file ends.
   *
   * @param mapping where to; bounds are checked
   * @return the number of bytes read; less than length only at the end of the file
   */
  public long readAt(long position, Mapping mapping, long offset, long length) {
    long address = mapping.address(offset, length);
    long done = 0;
    while (done < length) {
      long n = Libc.pread(fd(), address + done, length - done, position + done);
      if (n < 0) {
        retryOrThrow("pread");
      } else if (n == 0) {
        return done;
      } else {
        done += n;
      }
    }
    return done;
  }

  /** Writes mapped memory straight to the file; returns when all of it was taken. */
  public void writeAt(long position, Mapping mapping, long offset, long length) {
    long address = mapping.address(offset, length);
    long done = 0;
    while (done < length) {
      long n = Libc.pwrite(fd(), address + done, length - done, position + done);
      if (n < 0) {
        retryOrThrow("pwrite");
      } else {
        done += n;
      }
    }
  }

  /** Returns when the file's data is on its device (fdatasync). */
  public void sync() {
    while (Libc.fdatasync(fd()) < 0) {
      retryOrThrow("fdatasync");
    }
  }

  private void retryOrThrow(String call) {
    int errno = Libc.errno();
    if (errno != Errno.EINTR) {
      throw new ErrnoException(call + " " + name, errno);
    }
  }

  @Override
  public void close() {
    int number = fd.getAndSet(CLOSED);
    if (number != CLOSED) {
      // On Linux the descriptor is gone even when close fails, EINTR included: never again.
      int ignored = Libc.close(number);
    }
  }

  @Override
  public String toString() {
    return name;
  }
}
