// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * An io_uring(7) for files: operations are prepared, handed to the kernel together, and end in any
 * order. What an operation uses, its {@link IoVector} and the pieces of memory in it, must stay
 * mapped and unchanged until it has ended.
 *
 * <p>Whoever has fewer operations under way than {@link #capacity} finds room for each, and for
 * cancelling all of them; then the kernel's queue of ends cannot overflow either. It polls as
 * readable while an end waits.
 *
 * <p>The rings are shared with the kernel. The tail of submissions is stored with release, after
 * the entries, and its head loaded with acquire; the other ring's the other way round
 * (io_uring(7)). The kernel knows the thread that submits: its operations are cancelled when it
 * ends. Not safe for use from several threads at a time. Nothing here allocates, but for errors.
 */
public final class IoUring implements Pollable, AutoCloseable {
  // arch/x86/entry/syscalls/syscall_64.tbl
  private static final int SYS_IO_URING_SETUP = 425;
  private static final int SYS_IO_URING_ENTER = 426;
  private static final int SYS_IO_URING_REGISTER = 427;

  // include/uapi/linux/io_uring.h
  private static final long OFF_SQ_RING = 0;
  private static final long OFF_SQES = 0x1000_0000L;
  private static final int PARAMS_BYTES = 120;
  private static final int PARAMS_SQ_ENTRIES = 0;
  private static final int PARAMS_CQ_ENTRIES = 4;
  private static final int PARAMS_FEATURES = 20;
  private static final int PARAMS_SQ_OFF = 40;
  private static final int PARAMS_CQ_OFF = 80;
  private static final int SQ_ARRAY = 24;
  private static final int CQ_CQES = 20;
  private static final int HEAD = 0;
  private static final int TAIL = 4;

  private static final int FEAT_SINGLE_MMAP = 1;
  private static final int FEAT_NODROP = 1 << 1;

  /** The kernel's own threads for this are the process' from Linux 5.12 on. */
  private static final int FEAT_NATIVE_WORKERS = 1 << 9;

  private static final int FEATURES = FEAT_SINGLE_MMAP | FEAT_NODROP | FEAT_NATIVE_WORKERS;

  private static final int SQE_BYTES = 64;
  private static final int SQE_FD = 4;
  private static final int SQE_OFF = 8;
  private static final int SQE_ADDR = 16;
  private static final int SQE_LEN = 24;
  private static final int SQE_OP_FLAGS = 28;
  private static final int SQE_USER_DATA = 32;
  private static final int CQE_BYTES = 16;
  private static final int CQE_RES = 8;

  private static final int OP_READV = 1;
  private static final int OP_FSYNC = 3;
  private static final int OP_ASYNC_CANCEL = 14;
  private static final int OP_FALLOCATE = 17;
  private static final int[] OPS = {OP_READV, OP_FSYNC, OP_ASYNC_CANCEL, OP_FALLOCATE};
  private static final int FSYNC_DATASYNC = 1;

  private static final int REGISTER_PROBE = 8;
  private static final int PROBE_HEADER_BYTES = 16;
  private static final int PROBE_OP_BYTES = 8;
  private static final int PROBE_OPS = 64;
  private static final int PROBE_OP_FLAGS = 2;
  private static final int OP_SUPPORTED = 1;

  // struct pollfd, include/uapi/asm-generic/poll.h
  private static final int POLLFD_BYTES = 8;
  private static final short POLLIN = 1;
  private static final int POLLFD_EVENTS = 4;

  /** The key of the ends of cancellations themselves. */
  private static final long CANCELLATION = -1;

  private static final VarHandle INT =
      MethodHandles.byteBufferViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

  private final FileDescriptor descriptor;
  private final Mapping rings;
  private final Mapping entries;
  private final ByteBuffer ring;
  private final ByteBuffer sqes;
  private final NativeStruct pollfd = new NativeStruct(POLLFD_BYTES);
  private final int capacity;
  private final int sqMask;
  private final int cqMask;
  private final int sqHead;
  private final int sqTail;
  private final int cqHead;
  private final int cqTail;
  private final int cqes;

  /** Free-running indices: of submissions prepared, and of ends taken. */
  private int prepared;

  private int taken;

  private int result;

  private IoUring(FileDescriptor descriptor, ByteBuffer params, Mapping rings, Mapping entries) {
    this.descriptor = descriptor;
    this.rings = rings;
    this.entries = entries;
    ring = rings.buffer(0, (int) rings.length()).order(ByteOrder.LITTLE_ENDIAN);
    sqes = entries.buffer(0, (int) entries.length()).order(ByteOrder.LITTLE_ENDIAN);
    int sqEntries = params.getInt(PARAMS_SQ_ENTRIES);
    int cqEntries = params.getInt(PARAMS_CQ_ENTRIES);
    capacity = Math.min(sqEntries, cqEntries / 2);
    sqMask = sqEntries - 1;
    cqMask = cqEntries - 1;
    sqHead = params.getInt(PARAMS_SQ_OFF + HEAD);
    sqTail = params.getInt(PARAMS_SQ_OFF + TAIL);
    cqHead = params.getInt(PARAMS_CQ_OFF + HEAD);
    cqTail = params.getInt(PARAMS_CQ_OFF + TAIL);
    cqes = params.getInt(PARAMS_CQ_OFF + CQ_CQES);
    // The n-th submission is always the n-th entry.
    int array = params.getInt(PARAMS_SQ_OFF + SQ_ARRAY);
    for (int i = 0; i < sqEntries; i++) {
      ring.putInt(array + Integer.BYTES * i, i);
    }
  }

  /**
   * Makes one, where the host lets this process have it: its kernel is Linux 5.12 or newer with
   * what is needed here, and neither kernel.io_uring_disabled nor a seccomp filter forbids it.
   *
   * @param entries the capacity, a power of two
   * @throws ErrnoException when the host has no descriptor or memory left
   */
  public static Optional<IoUring> open(int entries) {
    NativeStruct params = new NativeStruct(PARAMS_BYTES);
    FileDescriptor descriptor;
    try {
      long fd = Libc.syscall(SYS_IO_URING_SETUP, entries, params.address(), 0, 0);
      if (fd < 0) {
        int errno = Libc.errno();
        if (errno == Errno.EMFILE || errno == Errno.ENFILE) {
          throw new ErrnoException("io_uring_setup", errno);
        }
        // ENOSYS, EPERM, or whatever a filter answers with; ENOMEM of RLIMIT_MEMLOCK.
        return Optional.empty();
      }
      descriptor = new FileDescriptor((int) fd, "io_uring");
    } finally {
      Reference.reachabilityFence(params);
    }
    Mapping rings = null;
    Mapping sqes = null;
    try {
      ByteBuffer p = params.bytes();
      if ((p.getInt(PARAMS_FEATURES) & FEATURES) != FEATURES || !supportsAll(descriptor)) {
        descriptor.close();
        return Optional.empty();
      }
      int sqEnd = p.getInt(PARAMS_SQ_OFF + SQ_ARRAY) + Integer.BYTES * p.getInt(PARAMS_SQ_ENTRIES);
      int cqEnd = p.getInt(PARAMS_CQ_OFF + CQ_CQES) + CQE_BYTES * p.getInt(PARAMS_CQ_ENTRIES);
      rings = Mapping.shared(descriptor, OFF_SQ_RING, Math.max(sqEnd, cqEnd));
      sqes = Mapping.shared(descriptor, OFF_SQES, (long) SQE_BYTES * p.getInt(PARAMS_SQ_ENTRIES));
      return Optional.of(new IoUring(descriptor, p, rings, sqes));
    } catch (RuntimeException | Error e) {
      if (sqes != null) {
        sqes.close();
      }
      if (rings != null) {
        rings.close();
      }
      descriptor.close();
      throw e;
    }
  }

  private static boolean supportsAll(FileDescriptor descriptor) {
    NativeStruct probe = new NativeStruct(PROBE_HEADER_BYTES + PROBE_OPS * PROBE_OP_BYTES);
    try {
      long answer =
          Libc.syscall(
              SYS_IO_URING_REGISTER, descriptor.fd(), REGISTER_PROBE, probe.address(), PROBE_OPS);
      if (answer < 0) {
        return false;
      }
      for (int op : OPS) {
        int flags =
            probe.bytes().getShort(PROBE_HEADER_BYTES + op * PROBE_OP_BYTES + PROBE_OP_FLAGS);
        if ((flags & OP_SUPPORTED) == 0) {
          return false;
        }
      }
      return true;
    } finally {
      Reference.reachabilityFence(probe);
    }
  }

  @Override
  public FileDescriptor descriptor() {
    return descriptor;
  }

  /** How many operations may be under way at a time. */
  public int capacity() {
    return capacity;
  }

  /**
   * Prepares a read into the window of a vector.
   *
   * @param key what {@link #next} will tell, not negative
   */
  public void read(FileDescriptor file, long position, IoVector vector, int key) {
    prepare(OP_READV, file.fd(), position, vector.address(), vector.segments(), 0, key);
  }

  /** Prepares what {@link FileDescriptor#sync} does. It is not ordered behind earlier writes. */
  public void sync(FileDescriptor file, int key) {
    prepare(OP_FSYNC, file.fd(), 0, 0, 0, FSYNC_DATASYNC, key);
  }

  /** Prepares what {@link FileDescriptor#punchHole} does. */
  public void punchHole(FileDescriptor file, long position, long length, int key) {
    int mode = FileDescriptor.FALLOC_FL_PUNCH_HOLE | FileDescriptor.FALLOC_FL_KEEP_SIZE;
    prepare(OP_FALLOCATE, file.fd(), position, length, mode, 0, key);
  }

  /** Prepares what {@link FileDescriptor#zeroRange} does. */
  public void zeroRange(FileDescriptor file, long position, long length, int key) {
    int mode = FileDescriptor.FALLOC_FL_ZERO_RANGE | FileDescriptor.FALLOC_FL_KEEP_SIZE;
    prepare(OP_FALLOCATE, file.fd(), position, length, mode, 0, key);
  }

  /**
   * Prepares to cancel an operation, which ends all the same: with ECANCELED, or as it would have.
   */
  public void cancel(int key) {
    prepare(OP_ASYNC_CANCEL, -1, 0, key, 0, 0, CANCELLATION);
  }

  private void prepare(int op, int fd, long offset, long address, int length, int flags, long key) {
    if (prepared - (int) INT.getAcquire(ring, sqHead) > sqMask) {
      throw new IllegalStateException("more operations than the ring has entries");
    }
    int at = (prepared & sqMask) * SQE_BYTES;
    for (int i = 0; i < SQE_BYTES; i += Long.BYTES) {
      sqes.putLong(at + i, 0);
    }
    sqes.put(at, (byte) op)
        .putInt(at + SQE_FD, fd)
        .putLong(at + SQE_OFF, offset)
        .putLong(at + SQE_ADDR, address)
        .putInt(at + SQE_LEN, length)
        .putInt(at + SQE_OP_FLAGS, flags)
        .putLong(at + SQE_USER_DATA, key);
    prepared++;
  }

  /**
   * Hands what was prepared to the kernel. What is quickly done, such as a read of what the host
   * has in memory, has ended on return.
   *
   * @return 0; or an error number, negated: then {@link #withdraw} tells what was not handed over
   */
  public int submit() {
    INT.setRelease(ring, sqTail, prepared);
    while (true) {
      int waiting = prepared - (int) INT.getAcquire(ring, sqHead);
      if (waiting == 0) {
        return 0;
      }
      long n = Libc.syscall(SYS_IO_URING_ENTER, descriptor.fd(), waiting, 0, 0, 0, 0);
      if (n == 0) {
        return -Errno.EAGAIN;
      }
      if (n < 0 && Libc.errno() != Errno.EINTR) {
        return -Libc.errno();
      }
    }
  }

  /** Takes back what was prepared and not handed over; returns how many operations that were. */
  public int withdraw() {
    int head = (int) INT.getAcquire(ring, sqHead);
    int count = prepared - head;
    prepared = head;
    // The kernel reads the tail only while it is entered, which is by whoever calls this.
    INT.setRelease(ring, sqTail, prepared);
    return count;
  }

  /**
   * Takes the next end of an operation.
   *
   * @return its key; or -1 when none has ended
   */
  public int next() {
    while (taken != (int) INT.getAcquire(ring, cqTail)) {
      int at = cqes + (taken & cqMask) * CQE_BYTES;
      long key = ring.getLong(at);
      result = ring.getInt(at + CQE_RES);
      taken++;
      INT.setRelease(ring, cqHead, taken);
      if (key != CANCELLATION) {
        return (int) key;
      }
    }
    return -1;
  }

  /** What the operation of the last {@link #next} returned: bytes, 0, or a negated errno. */
  public int result() {
    return result;
  }

  /** Waits until an end may be there to be taken, or the time is over. */
  public void await(int millis) {
    pollfd.bytes().putInt(0, descriptor.fd()).putShort(POLLFD_EVENTS, POLLIN);
    try {
      int ignored = Libc.poll(pollfd.address(), 1, millis);
    } finally {
      Reference.reachabilityFence(pollfd);
    }
  }

  /** Ends it. Nothing may be under way. Idempotent. */
  @Override
  public void close() {
    // The buffers are not used again: whoever closes has stopped the users.
    descriptor.close();
    entries.close();
    rings.close();
  }
}
