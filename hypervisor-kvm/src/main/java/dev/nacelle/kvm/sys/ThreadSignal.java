// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;

/**
 * The signal that makes a vCPU thread leave the guest.
 *
 * <p>The thread blocks it always, and KVM_SET_SIGNAL_MASK unblocks it just while the guest runs: a
 * signal that comes at any other moment waits and ends the next KVM_RUN at its start, so no kick is
 * lost. It is never delivered, so no handler is installed and nothing of the process changes,
 * whatever the process, the JVM or another library does with signals. So {@link #send} is called
 * only while the target is known to be alive, under a lock, and the target takes what was sent
 * ({@link #drain}) before it ends, because the JVM restores the mask of a thread that ends.
 *
 * <p>KVM's other way, {@code immediate_exit}, spares KVM_RUN the change of the mask, which takes a
 * lock that the threads of the process share; but it needs the signal to be deliverable, hence a
 * handler for the whole process, which is not a library's to install: a signal that is neither
 * blocked nor handled interrupts nothing. What the mask costs, {@code benchmarks/run ioctls} tells.
 *
 * <p>KVM_RUN is interrupted although no handler is there since Linux 4.15 (commit 20b7035c66ba).
 */
public final class ThreadSignal {
  /**
   * SIGURG: what a process that does not ask for it ignores, and the JVM has no use for. A
   * real-time signal would have to be queued, which fails where the user's limit of those is
   * reached (RLIMIT_SIGPENDING); a standard one is pending or not (signal(7)).
   */
  static final int SIGNAL = 23;

  /** The kernel's sigset_t, in bytes; signal n is bit n - 1. */
  static final int MASK_SIZE = 8;

  private static final long MASK = 1L << (SIGNAL - 1);

  // arch/x86/entry/syscalls/syscall_64.tbl
  private static final long SYS_RT_SIGPROCMASK = 14;
  private static final long SYS_RT_SIGTIMEDWAIT = 128;
  private static final long SYS_GETTID = 186;
  private static final long SYS_TGKILL = 234;

  private static final int SIG_BLOCK = 0;

  /** struct timespec, in bytes. */
  private static final int TIMESPEC_SIZE = 16;

  /** The set for rt_sigtimedwait, then no time: never written to, so any thread can use it. */
  private static final NativeStruct DRAIN = new NativeStruct(MASK_SIZE + TIMESPEC_SIZE);

  static {
    DRAIN.bytes().putLong(0, MASK);
  }

  private ThreadSignal() {}

  /**
   * Blocks the signal in the calling thread, for the rest of its life.
   *
   * @return the mask for KVM_SET_SIGNAL_MASK: what the thread blocked before
   */
  public static long block() {
    NativeStruct masks = new NativeStruct(2 * MASK_SIZE);
    masks.bytes().putLong(0, MASK);
    long address = masks.address();
    // Not pthread_sigmask: its set is the C library's, KVM wants the kernel's.
    try {
      if (Libc.syscall(SYS_RT_SIGPROCMASK, SIG_BLOCK, address, address + MASK_SIZE, MASK_SIZE)
          < 0) {
        throw new ErrnoException("rt_sigprocmask", Libc.errno());
      }
    } finally {
      Reference.reachabilityFence(masks);
    }
    return masks.bytes().getLong(MASK_SIZE) & ~MASK;
  }

  /** The calling thread, for {@link #send}. */
  public static int currentThread() {
    return (int) Libc.syscall(SYS_GETTID, 0, 0, 0, 0);
  }

  /**
   * Takes the signal where it was sent to the calling thread, once no more can come. Allocates
   * nothing: a thread that ends because memory ran out must not fail here.
   *
   * @throws ErrnoException never, as far as signal(7) tells
   */
  public static void drain() {
    long set = DRAIN.address();
    long noTime = set + MASK_SIZE;
    int errno;
    do {
      long signal = Libc.syscall(SYS_RT_SIGTIMEDWAIT, set, 0, noTime, MASK_SIZE);
      errno = signal < 0 ? Libc.errno() : 0;
    } while (errno == 0 || errno == Errno.EINTR);
    if (errno != Errno.EAGAIN) {
      throw new ErrnoException("rt_sigtimedwait", errno);
    }
  }

  /**
   * Makes a thread of this process that has called {@link #block}, and has not ended, leave the
   * guest.
   */
  public static void send(int thread) {
    if (Libc.syscall(SYS_TGKILL, ProcessHandle.current().pid(), thread, SIGNAL, 0) < 0) {
      throw new ErrnoException("tgkill", Libc.errno());
    }
  }
}
