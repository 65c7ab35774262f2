// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;
import java.util.concurrent.TimeUnit;

/** How much of the processors' time a thread has had. */
public final class ThreadClock {
  private static final long SYS_CLOCK_GETTIME = 228; // arch/x86/entry/syscalls/syscall_64.tbl

  /**
   * The kind of clock, and that it is a thread's and not a process's: CPUCLOCK_SCHED and
   * CPUCLOCK_PERTHREAD_MASK of include/linux/posix-timers_types.h.
   */
  private static final long SCHEDULER = 2 | 4;

  /** struct timespec, in bytes. */
  private static final int TIMESPEC_SIZE = 16;

  private ThreadClock() {}

  /**
   * CPU time of a thread of this process, in a guest included.
   *
   * @param thread as {@link ThreadSignal#currentThread}; alive
   * @return in nanoseconds
   */
  public static long cpuNanos(int thread) {
    NativeStruct time = new NativeStruct(TIMESPEC_SIZE);
    long clock = (int) (~thread << 3 | SCHEDULER);
    try {
      if (Libc.syscall(SYS_CLOCK_GETTIME, clock, time.address(), 0, 0) < 0) {
        throw new ErrnoException("clock_gettime", Libc.errno());
      }
    } finally {
      Reference.reachabilityFence(time);
    }
    return TimeUnit.SECONDS.toNanos(time.bytes().getLong(0)) + time.bytes().getLong(Long.BYTES);
  }
}
