// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;

/** Core scheduling by system calls. */
final class HostCoreScheduling implements CoreScheduling {
  private static final long SYS_PRCTL = 157; // arch/x86/entry/syscalls/syscall_64.tbl

  // include/uapi/linux/prctl.h
  private static final long PR_SCHED_CORE = 62;
  private static final long GET = 0;
  private static final long CREATE = 1;
  private static final long SHARE_FROM = 3;
  private static final long SCOPE_THREAD = 0;

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
