// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import dev.nacelle.kvm.sys.CoreScheduling;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.ThreadSignal;
import java.util.HashSet;
import java.util.Set;

/**
 * The vCPUs of one machine, as threads that may run on the SMT siblings of a core at the same time,
 * and with which nothing else may: neither another machine's, nor any other thread of the host. So
 * what siblings see of each other (caches, buffers, execution ports) stays within a machine. It
 * does not reach into the kernel: a sibling that takes an interrupt or is in a system call runs
 * beside a vCPU all the same.
 *
 * <p>A thread belongs to it only while it runs the guest: whatever it made otherwise, such as a
 * thread of a pool for a user's callback, would belong to it, too. So it is {@linkplain #runOutside
 * outside} while it calls a user. Devices' event loops, which work for the host, never belong to
 * it. Safe for use from several threads.
 */
public final class CoreGroup {
  private final CoreScheduling scheduling;

  /** Those that have the cookie, each alive for as long as it is here. */
  private final Set<Integer> members = new HashSet<>();

  /** A group without members. */
  public CoreGroup(CoreScheduling scheduling) {
    this.scheduling = scheduling;
  }

  /**
   * Adds the calling thread, until {@link #leave}.
   *
   * @throws ErrnoException when the host refuses; not where no core has siblings any more
   */
  public synchronized void join() {
    int result =
        members.isEmpty() ? scheduling.create() : scheduling.shareFrom(members.iterator().next());
    if (succeeded(result)) {
      members.add(ThreadSignal.currentThread());
    }
  }

  /**
   * Gives the calling thread what its process has, which is no cookie unless somebody gave it one,
   * as containerd can: the process' first thread never runs a guest.
   */
  public synchronized void leave() {
    if (members.remove(ThreadSignal.currentThread())) {
      boolean ignored = succeeded(scheduling.shareFrom((int) ProcessHandle.current().pid()));
    }
  }

  /**
   * Does work that may run anything, such as a user's callback, on the calling thread, which is no
   * member meanwhile.
   *
   * @throws ErrnoException when the host does not let it back in
   */
  public void runOutside(Runnable work) {
    boolean member = isMember();
    leave();
    try {
      work.run();
    } finally {
      if (member) {
        join();
      }
    }
  }

  private synchronized boolean isMember() {
    return members.contains(ThreadSignal.currentThread());
  }

  /** False where SMT was switched off meanwhile. */
  private static boolean succeeded(int result) {
    if (result < 0 && result != -Errno.ENODEV) {
      throw new ErrnoException("prctl PR_SCHED_CORE", -result);
    }
    return result == 0;
  }
}
