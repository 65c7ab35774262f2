// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;

/**
 * Core scheduling (prctl(2), PR_SCHED_CORE, since Linux 5.14 with CONFIG_SCHED_CORE; Linux'
 * Documentation/admin-guide/hw-vuln/core-scheduling.rst): only threads with the same cookie run on
 * the SMT siblings of a core at the same time, those without one among themselves. A new thread has
 * the cookie of the thread that makes it. Safe for use from several threads.
 *
 * <p>Each answers with a negated error number where it fails: ENODEV where no core has siblings in
 * use, EINVAL where the kernel has no core scheduling.
 */
public interface CoreScheduling {
  /** This host's. */
  CoreScheduling HOST = new OfHost();

  /**
   * Gives the calling thread a cookie that no other has.
   *
   * @return 0, or a negated error number
   */
  int create();

  /**
   * Gives the calling thread the cookie of another thread, or none where that has none.
   *
   * @param thread of this process
   * @return 0, or a negated error number
   */
  int shareFrom(int thread);

  /**
   * Tells cookies apart.
   *
   * @param thread of this process; 0 for the caller
   * @return 0 without a cookie; otherwise a positive number, the same for the same cookie; or a
   *     negated error number
   */
  long cookie(int thread);

  /** By system calls. */
  final class OfHost implements CoreScheduling {
    private static final long SYS_PRCTL = 157; // arch/x86/entry/syscalls/syscall_64.tbl

    // include/uapi/linux/prctl.h
    private static final long PR_SCHED_CORE = 62;
    private static final long GET = 0;
    private static final long CREATE = 1;
    private static final long SHARE_FROM = 3;
    private static final long SCOPE_THREAD = 0;

    private OfHost() {}

    @Override
    public int create() {
      return call(CREATE, 0, 0);
    }

    @Override
    public int shareFrom(int thread) {
      return call(SHARE_FROM, thread, 0);
    }

    @Override
    public long cookie(int thread) {
      NativeStruct cookie = new NativeStruct(Long.BYTES);
      try {
        int result = call(GET, thread, cookie.address());
        return result < 0 ? result : cookie.bytes().getLong(0);
      } finally {
        Reference.reachabilityFence(cookie);
      }
    }

    private static int call(long command, int thread, long address) {
      long n = Libc.syscall(SYS_PRCTL, PR_SCHED_CORE, command, thread, SCOPE_THREAD, address, 0);
      return n < 0 ? -Libc.errno() : 0;
    }
  }
}
