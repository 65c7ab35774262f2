// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;
import java.util.concurrent.TimeUnit;

/**
 * Makes the thread that makes it leave the guest, as {@link ThreadSignal} does, when it has had
 * some more CPU time: timer_create(2) on the thread's own clock. Used by that thread alone, after
 * {@link ThreadSignal#block} and closed before {@link ThreadSignal#drain}.
 */
public final class CpuTimer implements AutoCloseable {
  // arch/x86/entry/syscalls/syscall_64.tbl
  private static final long SYS_TIMER_CREATE = 222;
  private static final long SYS_TIMER_SETTIME = 223;
  private static final long SYS_TIMER_DELETE = 226;

  /** CLOCK_THREAD_CPUTIME_ID of include/uapi/linux/time.h: that of the caller. */
  private static final long CLOCK = 3;

  // struct sigevent of include/uapi/asm-generic/siginfo.h
  private static final int SIGEVENT_SIZE = 64;
  private static final int SIGNAL = 8;
  private static final int NOTIFY = 12;
  private static final int NOTIFY_THREAD = 16;
  private static final int SIGEV_THREAD_ID = 4;

  /** struct itimerspec: the interval, none, and the time. */
  private static final int ITIMERSPEC_SIZE = 32;

  private static final int SECONDS = 16;
  private static final int NANOS = 24;

  private static final long TIMER_ABSTIME = 1;

  private final NativeStruct time = new NativeStruct(ITIMERSPEC_SIZE);
  private final int thread;
  private final int timer;

  /**
   * Not armed yet.
   *
   * @throws ErrnoException when the host has no more timers, or signals, for this user
   */
  public CpuTimer() {
    thread = ThreadSignal.currentThread();
    NativeStruct event = new NativeStruct(SIGEVENT_SIZE + Long.BYTES);
    event.bytes().putInt(SIGNAL, ThreadSignal.SIGNAL);
    event.bytes().putInt(NOTIFY, SIGEV_THREAD_ID);
    event.bytes().putInt(NOTIFY_THREAD, thread);
    long address = event.address();
    try {
      if (Libc.syscall(SYS_TIMER_CREATE, CLOCK, address, address + SIGEVENT_SIZE, 0) < 0) {
        throw new ErrnoException("timer_create", Libc.errno());
      }
    } finally {
      Reference.reachabilityFence(event);
    }
    timer = event.bytes().getInt(SIGEVENT_SIZE);
  }

  /** CPU time of this thread so far, in nanoseconds. */
  public long cpuNanos() {
    return ThreadClock.cpuNanos(thread);
  }

  /**
   * Has the signal come when the thread has had that much, at once where it has already.
   *
   * @param cpuNanos as {@link #cpuNanos}; positive
   */
  public void set(long cpuNanos) {
    time.bytes().putLong(SECONDS, TimeUnit.NANOSECONDS.toSeconds(cpuNanos));
    time.bytes().putLong(NANOS, cpuNanos % TimeUnit.SECONDS.toNanos(1));
    try {
      if (Libc.syscall(SYS_TIMER_SETTIME, timer, TIMER_ABSTIME, time.address(), 0) < 0) {
        throw new ErrnoException("timer_settime", Libc.errno());
      }
    } finally {
      Reference.reachabilityFence(time);
    }
  }

  @Override
  public void close() {
    if (Libc.syscall(SYS_TIMER_DELETE, timer, 0, 0, 0) < 0) {
      throw new ErrnoException("timer_delete", Libc.errno());
    }
  }
}
