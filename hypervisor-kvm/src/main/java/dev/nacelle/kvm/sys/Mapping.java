// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Owns one range of mapped memory. Whoever closes it guarantees that no buffer of {@link #buffer}
 * is used any more: access after munmap would end the whole process.
 */
public final class Mapping implements AutoCloseable {
  /** A huge page of x86-64, in bytes. */
  public static final long HUGE_PAGE = 2 << 20;

  // include/uapi/asm-generic/mman-common.h
  private static final int PROT_NONE = 0;
  private static final int PROT_READ = 1;
  private static final int PROT_WRITE = 2;
  private static final int MAP_SHARED = 1;
  private static final int MAP_PRIVATE = 2;
  private static final int MAP_FIXED = 0x10;
  private static final int MAP_ANONYMOUS = 0x20;
  private static final int MAP_NORESERVE = 0x4000;
  private static final long MAP_FAILED = -1;
  private static final int MADV_DONTNEED = 4;
  private static final int MADV_DONTFORK = 10;
  private static final int MADV_HUGEPAGE = 14;
  private static final int MADV_NOHUGEPAGE = 15;
  private static final int MADV_DONTDUMP = 16;

  /** Of x86-64. */
  private static final long PAGE = 4096;

  /** That are asked for at once, so that the answer is not large. */
  private static final long MAX_PAGES = 1 << 18;

  /** arch/x86/entry/syscalls/syscall_64.tbl. */
  private static final long SYS_GETRANDOM = 318;

  private final long address;
  private final long length;
  private boolean closed;
  private boolean unmapped;

  private Mapping(long address, long length) {
    this.address = address;
    this.length = length;
  }

  /**
   * Maps zeroed private memory, which takes space of the host only where it is touched.
   *
   * @param length in bytes, positive
   * @throws ErrnoException when the host refuses
   */
  public static Mapping anonymous(long length) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return new Mapping(map(0, length, flags, null, 0), length);
  }

  /**
   * As {@link #anonymous}, a multiple of 4096 bytes, aligned so that {@link #preferHugePages} can
   * have them.
   *
   * @throws ErrnoException when the host refuses
   */
  public static Mapping aligned(long length) {
    if (length < HUGE_PAGE) {
      return anonymous(length);
    }
    Mapping roomy = anonymous(length + HUGE_PAGE);
    long start = roomy.address + HUGE_PAGE - 1 & -HUGE_PAGE;
    unmap(roomy.address, start - roomy.address);
    unmap(start + length, roomy.address + roomy.length - (start + length));
    return new Mapping(start, length);
  }

  /**
   * Maps zeroed pages of 2 MiB out of those that the host has reserved, shared with nobody. All are
   * taken at once: mmap only counts them, against the host's free ones, and a page that a limit of
   * the cgroup (hugetlb.2MB.max) or the process's memory nodes would not allow then were a SIGBUS
   * at its first touch (Documentation/admin-guide/mm/hugetlbpage.rst, cgroup-v2.rst).
   *
   * @param length in bytes, a positive multiple of 2 MiB
   * @throws ErrnoException when the host refuses: ENOMEM where it has too few free pages, ENOSPC
   *     where this process may not have them, ENOSYS or ENOENT where there are no such pages
   */
  public static Mapping hugePages(long length) {
    try (FileDescriptor file = FileDescriptor.ofHugePages("guest memory")) {
      Mapping mapping = shared(file, length);
      try {
        int answer = file.allocate(0, 0, length);
        if (answer < 0) {
          throw new ErrnoException("fallocate of " + length + " bytes, huge pages", -answer);
        }
        return mapping;
      } catch (RuntimeException | Error e) {
        mapping.close();
        throw e;
      }
    }
  }

  private static void unmap(long address, long length) {
    if (length > 0) {
      int ignored = Libc.munmap(address, length);
    }
  }

  /** Maps the start of a file, shared with the kernel and with everybody else. */
  public static Mapping shared(FileDescriptor file, long length) {
    return shared(file, 0, length);
  }

  /** Likewise from a position on, a multiple of 4096. */
  static Mapping shared(FileDescriptor file, long position, long length) {
    return new Mapping(map(0, length, MAP_SHARED, file, position), length);
  }

  private static long map(
      long wanted, long length, int flags, @Nullable FileDescriptor file, long position) {
    int fd = file == null ? -1 : file.fd();
    long address = Libc.mmap(wanted, length, PROT_READ | PROT_WRITE, flags, fd, position);
    if (address == MAP_FAILED) {
      String what = file == null ? "anonymous memory" : file.name();
      throw new ErrnoException("mmap of " + length + " bytes, " + what, Libc.errno());
    }
    return address;
  }

  /** The size in bytes. */
  public long length() {
    return length;
  }

  /**
   * The address of a part, for a system call.
   *
   * @throws IndexOutOfBoundsException when the part is not inside
   * @throws IllegalStateException when closed
   */
  synchronized long address(long offset, long size) {
    if (closed) {
      throw new IllegalStateException("the memory is unmapped");
    }
    if (offset < 0 || size < 0 || offset > length - size) {
      throw new IndexOutOfBoundsException(
          size + " bytes at " + offset + " of a mapping of " + length);
    }
    return address + offset;
  }

  /**
   * Asks for what is touched from now on to come in pages of 2 MiB, or never to.
   *
   * <p>On a host whose memory is in pieces the first touch of such a page may wait until the kernel
   * has moved others (direct compaction), where {@code transparent_hugepage/defrag} is "madvise" as
   * by default. The wish stands all the same: many hosts give huge pages only to who wishes for
   * them ({@code enabled} is "madvise"), there is no wish for "only if there is one", and the
   * kernel tries more and more seldom where it fails. An administrator who would rather have small
   * pages at once says "defer".
   */
  public void preferHugePages(boolean preferred) {
    // Only a wish: an error means that this host has none.
    int advice = preferred ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;
    int ignored = Libc.madvise(address(0, length), length, advice);
  }

  /**
   * Puts pages of a file in place of a part: shared with all who map them until they are written
   * to, and then copied. The file must not become shorter: what is missing would be a fault.
   *
   * @param offset of the part, a multiple of 4096, as are the other two
   * @param position in the file
   * @throws ErrnoException when the host refuses; the part may then be unmapped
   */
  public void mapCopyOnWrite(long offset, FileDescriptor file, long position, long size) {
    // Safe: the address is that of a range which is ours, and stays mapped until all of it goes.
    map(address(offset, size), size, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, position);
  }

  /**
   * Gives the host what a part of anonymous memory takes: it reads as zeros, and takes memory again
   * where it is touched. The kernel refuses that for memory that is locked, as by a process that
   * locks all of its own; then it stays.
   */
  public void discard(long offset, long size) {
    int ignored = Libc.madvise(address(offset, size), size, MADV_DONTNEED);
  }

  /**
   * How many bytes are in the host's memory now, in whole pages; of a file's pages that were not
   * written to, those that the host has in its cache. Zero when it is closed.
   */
  public synchronized long resident() {
    long pages = 0;
    byte[] there = new byte[(int) Math.min(length / PAGE, MAX_PAGES)];
    // Safe: the kernel looks at the range, which stays mapped meanwhile, and writes to the array.
    for (long offset = 0; offset < length && !closed; offset += MAX_PAGES * PAGE) {
      long size = Math.min(length - offset, MAX_PAGES * PAGE);
      if (Libc.mincore(address(offset, size), size, there) < 0) {
        throw new ErrnoException("mincore", Libc.errno());
      }
      for (int i = 0; i < size / PAGE; i++) {
        pages += there[i] & 1;
      }
    }
    return pages * PAGE;
  }

  /** Keeps a part's content out of child processes of this one, and out of its core dumps. */
  public void keepPrivate(long offset, long size) {
    for (int advice : new int[] {MADV_DONTFORK, MADV_DONTDUMP}) {
      if (Libc.madvise(address(offset, size), size, advice) < 0) {
        throw new ErrnoException("madvise", Libc.errno());
      }
    }
  }

  /** A part as a buffer, big endian as all new buffers are. */
  public ByteBuffer buffer(long offset, int size) {
    // Safe: the range was checked, and the owner unmaps only after the buffer's last use.
    return new Pointer(address(offset, size)).getByteBuffer(0, size);
  }

  /**
   * Fills a part from the kernel's random number generator; waits if that is not initialised yet.
   *
   * @throws ErrnoException when the kernel has none (before Linux 3.17)
   */
  public void fillRandom(long offset, long size) {
    long address = address(offset, size);
    for (long done = 0; done < size; ) {
      long n = Libc.syscall(SYS_GETRANDOM, address + done, size - done, 0, 0);
      if (n >= 0) {
        done += n;
        continue;
      }
      int errno = Libc.errno();
      if (errno != Errno.EINTR) {
        throw new ErrnoException("getrandom", errno);
      }
    }
  }

  /**
   * Gives the host what it takes, as {@link #close} does and with the same guarantee of the
   * caller's, and keeps its addresses until that: nothing else can come to lie where somebody might
   * still write, such as KVM for a machine that is not closed. Whoever does then gets an error.
   *
   * @return false when the host refuses, as it does where locked memory has a limit; it is to be
   *     closed then
   */
  public synchronized boolean vacate() {
    if (closed) {
      return true;
    }
    // First, since other threads' page faults go on meanwhile, and do not during an mmap.
    discard(0, length);
    // Safe: the range is ours, and stays so; nobody uses what was there.
    int flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE;
    if (Libc.mmap(address, length, PROT_NONE, flags, -1, 0) == MAP_FAILED) {
      return false;
    }
    closed = true;
    return true;
  }

  @Override
  public synchronized void close() {
    closed = true;
    if (!unmapped) {
      unmapped = true;
      int ignored = Libc.munmap(address, length);
    }
  }
}
