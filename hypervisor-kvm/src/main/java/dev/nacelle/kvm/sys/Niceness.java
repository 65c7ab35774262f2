// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** How much a thread gives way to others: nice(2), which on Linux is of a thread. */
public final class Niceness {
  // arch/x86/entry/syscalls/syscall_64.tbl
  private static final long SYS_GETPRIORITY = 140;
  private static final long SYS_SETPRIORITY = 141;

  private static final long PRIO_PROCESS = 0;
  private static final int LARGEST = 19;

  private Niceness() {}

  /**
   * That of a thread of this process.
   *
   * @param thread 0 for the caller
   */
  public static int of(int thread) {
    // The system call itself returns 20 less it: getpriority(2).
    long answer = Libc.syscall(SYS_GETPRIORITY, PRIO_PROCESS, thread, 0, 0);
    if (answer < 0) {
      throw new ErrnoException("getpriority", Libc.errno());
    }
    return 20 - (int) answer;
  }

  /** Adds to that of the calling thread, up to 19; needs no privilege. */
  public static void add(int more) {
    int wanted = Math.min(LARGEST, of(0) + more);
    if (Libc.syscall(SYS_SETPRIORITY, PRIO_PROCESS, 0, wanted, 0) < 0) {
      throw new ErrnoException("setpriority", Libc.errno());
    }
  }
}
