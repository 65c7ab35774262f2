// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
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
  private static final int O_NOCTTY = 0x100;
  private static final int O_NONBLOCK = 0x800;
  private static final int O_CLOEXEC = 0x80000;
  private static final int F_SETFL = 4;
  private static final int F_OFD_SETLK = 37;
  private static final int SEEK_END = 2;

  // struct flock of x86-64: type, whence, start, length (0: to the end), pid (0 for F_OFD_SETLK)
  private static final int FLOCK_BYTES = 32;
  private static final short F_RDLCK = 0;
  private static final short F_WRLCK = 1;
  private static final short F_UNLCK = 2;

  // struct stat of x86-64 and its modes; the system call, as older C libraries have no fstat
  private static final int SYS_FSTAT = 5;
  private static final int STAT_BYTES = 144;
  private static final int STAT_MODE = 24;
  private static final int S_IFMT = 0xf000;
  private static final int S_IFIFO = 0x1000;
  private static final int S_IFCHR = 0x2000;
  private static final int S_IFDIR = 0x4000;
  private static final int S_IFBLK = 0x6000;
  private static final int S_IFREG = 0x8000;
  private static final int S_IFSOCK = 0xc000;

  // include/uapi/linux/falloc.h
  static final int FALLOC_FL_KEEP_SIZE = 1;
  static final int FALLOC_FL_PUNCH_HOLE = 2;
  static final int FALLOC_FL_ZERO_RANGE = 0x10;

  // arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/linux/fs.h; not all C libraries have it
  private static final int SYS_PREADV2 = 327;
  private static final int RWF_NOWAIT = 8;

  // arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/linux/memfd.h
  private static final int SYS_MEMFD_CREATE = 319;
  private static final int MFD_CLOEXEC = 1;
  private static final int MFD_HUGETLB = 4;
  private static final int MFD_HUGE_2MB = 21 << 26;

  private static final int CLOSED = -1;

  private final AtomicInteger fd;
  private final String name;
  private volatile boolean locked;

  FileDescriptor(int fd, String name) {
    this.fd = new AtomicInteger(fd);
    this.name = name;
  }

  /**
   * Opens an existing file or device; not inherited by child processes. It may wait for as long as
   * a FIFO has no other end: what a user names is opened with {@link #openFile}.
   *
   * @throws ErrnoException when it cannot be opened
   */
  static FileDescriptor open(Path path, boolean writable) {
    return open(path, writable ? O_RDWR : O_RDONLY);
  }

  /**
   * Opens an existing regular file, and nothing else, without waiting: what was opened is looked
   * at, so it does not matter when somebody puts something else there. Not inherited by child
   * processes.
   *
   * <p>Neither are block devices taken: they could not be locked against whoever has them by
   * another name, or mounted.
   *
   * @throws ErrnoException when it cannot be opened
   * @throws NotAFileException when it is no regular file
   */
  public static FileDescriptor openFile(Path path, boolean writable) {
    FileDescriptor file;
    try {
      // O_NONBLOCK: neither a FIFO without another end nor a lease (fcntl F_SETLEASE) is waited
      // for.
      file = open(path, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY);
    } catch (ErrnoException e) {
      if (e.errno() == Errno.EISDIR) {
        throw new NotAFileException(path, "a directory");
      }
      if (e.errno() == Errno.ENXIO) {
        throw new NotAFileException(path, "a socket, or a device that is not there");
      }
      throw e;
    }
    try {
      int mode = file.mode();
      if ((mode & S_IFMT) != S_IFREG) {
        throw new NotAFileException(path, kind(mode));
      }
      if (Libc.fcntl(file.fd(), F_SETFL, 0) < 0) {
        throw new ErrnoException("fcntl F_SETFL " + path, Libc.errno());
      }
      return file;
    } catch (RuntimeException | Error e) {
      file.close();
      throw e;
    }
  }

  private static FileDescriptor open(Path path, int flags) {
    // As the JDK encodes file names, which need not be UTF-8.
    String encoding = System.getProperty("sun.jnu.encoding", "UTF-8");
    byte[] bytes = (path + "\0").getBytes(Charset.forName(encoding));
    while (true) {
      int fd = Libc.open(bytes, flags | O_CLOEXEC, 0);
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
   * A file in memory of huge pages of 2 MiB (memfd_create, since Linux 4.14), which are taken where
   * it is mapped or allocated.
   *
   * @param name for messages, of ASCII
   * @throws ErrnoException when there are none
   */
  static FileDescriptor ofHugePages(String name) {
    NativeStruct bytes = new NativeStruct(name.length() + 1);
    bytes.bytes().put(0, name.getBytes(StandardCharsets.US_ASCII));
    try {
      int fd =
          (int)
              Libc.syscall(
                  SYS_MEMFD_CREATE,
                  bytes.address(),
                  MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB,
                  0,
                  0);
      if (fd < 0) {
        throw new ErrnoException("memfd_create, huge pages of 2 MiB", Libc.errno());
      }
      return new FileDescriptor(fd, name);
    } finally {
      Reference.reachabilityFence(bytes);
    }
  }

  private int mode() {
    NativeStruct stat = new NativeStruct(STAT_BYTES);
    try {
      if (Libc.syscall(SYS_FSTAT, fd(), stat.address(), 0, 0) < 0) {
        throw new ErrnoException("fstat " + name, Libc.errno());
      }
      return stat.bytes().getInt(STAT_MODE);
    } finally {
      Reference.reachabilityFence(stat);
    }
  }

  private static String kind(int mode) {
    return switch (mode & S_IFMT) {
      case S_IFIFO -> "a FIFO";
      case S_IFCHR -> "a character device";
      case S_IFDIR -> "a directory";
      case S_IFBLK -> "a block device";
      case S_IFSOCK -> "a socket";
      default -> "of the unknown kind " + Integer.toOctalString(mode & S_IFMT);
    };
  }

  /**
   * Locks the whole file for whoever has this descriptor, against all other opens of it, in this
   * process and others: shared with other readers, or exclusively. The lock goes with the
   * descriptor. It binds only those who ask for it, too: machines of Nacelle, and QEMU.
   *
   * <p>An open file description lock (fcntl(2), since Linux 3.15): a POSIX lock would go with any
   * close of the file in this process, and would not keep this process out.
   *
   * @return false when somebody else has it
   * @throws ErrnoException when the file system has no locks
   */
  public boolean tryLock(boolean exclusive) {
    int answer = lock(fd(), exclusive ? F_WRLCK : F_RDLCK);
    if (answer == -Errno.EAGAIN || answer == -Errno.EACCES) {
      return false;
    }
    if (answer < 0) {
      throw new ErrnoException("fcntl F_OFD_SETLK " + name, -answer);
    }
    locked = true;
    return true;
  }

  private static int lock(int fd, short type) {
    NativeStruct lock = new NativeStruct(FLOCK_BYTES);
    lock.bytes().putShort(0, type);
    try {
      int n;
      do {
        n = Libc.fcntl(fd, F_OFD_SETLK, lock.address());
      } while (n < 0 && Libc.errno() == Errno.EINTR);
      return result(n);
    } finally {
      Reference.reachabilityFence(lock);
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

  /**
   * Reads at a position of the file into the window of a vector: one preadv, tried again where a
   * signal came first.
   *
   * @return how many bytes, which may be fewer than the window has, 0 only at the end of the file;
   *     or an error number, negated
   */
  public int read(long position, IoVector vector) {
    long n;
    do {
      n = Libc.preadv(fd(), vector.address(), vector.segments(), position);
    } while (n < 0 && Libc.errno() == Errno.EINTR);
    return result(n);
  }

  /**
   * As {@link #read}, unless it would have to wait for the disk (preadv2 with RWF_NOWAIT, since
   * Linux 4.14).
   *
   * @return likewise; EAGAIN where it would wait, EOPNOTSUPP where the file system cannot tell
   */
  public int readAtOnce(long position, IoVector vector) {
    long n;
    do {
      // The position in two halves, of which x86-64 takes the first for all of it.
      n =
          Libc.syscall(
              SYS_PREADV2, fd(), vector.address(), vector.segments(), position, 0, RWF_NOWAIT);
    } while (n < 0 && Libc.errno() == Errno.EINTR);
    return result(n);
  }

  /**
   * Writes the window of a vector at a position of the file: one pwritev, tried again where a
   * signal came first.
   *
   * @return how many bytes, which may be fewer than the window has; or an error number, negated
   */
  public int write(long position, IoVector vector) {
    long n;
    do {
      n = Libc.pwritev(fd(), vector.address(), vector.segments(), position);
    } while (n < 0 && Libc.errno() == Errno.EINTR);
    return result(n);
  }

  /**
   * Returns when the file's data is on its device (fdatasync).
   *
   * @return 0, or an error number, negated
   */
  public int sync() {
    int n;
    do {
      n = Libc.fdatasync(fd());
    } while (n < 0 && Libc.errno() == Errno.EINTR);
    return result(n);
  }

  /**
   * Gives a range of the file back to the host; it then reads as zeros, and the file keeps its
   * size.
   *
   * @return 0, or an error number, negated: EOPNOTSUPP where the file system cannot
   */
  public int punchHole(long position, long length) {
    return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, position, length);
  }

  /**
   * Makes a range of the file read as zeros, and keeps its space.
   *
   * @return 0, or an error number, negated: EOPNOTSUPP where the file system cannot
   */
  public int zeroRange(long position, long length) {
    return allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, position, length);
  }

  /** As fallocate(2), until no signal is in the way; 0, or an error number, negated. */
  int allocate(int mode, long position, long length) {
    int n;
    do {
      n = Libc.fallocate(fd(), mode, position, length);
    } while (n < 0 && Libc.errno() == Errno.EINTR);
    return result(n);
  }

  /** No exception: what a guest makes happen again and again should cost little. */
  private static int result(long returned) {
    return returned < 0 ? -Libc.errno() : (int) returned;
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
      if (locked) {
        // It would outlive the descriptor where a child process is being started, or io_uring has
        // not put its reference down.
        int ignored = lock(number, F_UNLCK);
      }
      // On Linux the descriptor is gone even when close fails, EINTR included: never again.
      int ignored = Libc.close(number);
    }
  }

  @Override
  public String toString() {
    return name;
  }
}
