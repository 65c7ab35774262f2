// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

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
  /** This host's, by system calls. */
  static CoreScheduling ofHost() {
    return new HostCoreScheduling();
  }

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
}
