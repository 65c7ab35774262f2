// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

/**
 * A thread of a virtual machine, a daemon, for hypervisors. It takes nothing over from whoever
 * makes it: no inheritable thread-locals, thread group or class loader, which would stay reachable
 * for as long as the machine lives. All of a hypervisor's threads are such.
 */
public final class MachineThread extends Thread {
  /**
   * @param name of the thread
   */
  @SuppressWarnings("ThreadPriorityCheck") // not relied upon: not the caller's, either
  public MachineThread(Runnable work, String name) {
    super(outermostGroup(), work, name, 0, false);
    setDaemon(true);
    setPriority(NORM_PRIORITY);
    setContextClassLoader(MachineThread.class.getClassLoader());
  }

  /** Whether the caller is on a thread of some virtual machine, which none may keep waiting. */
  public static boolean isCurrent() {
    return Thread.currentThread() instanceof MachineThread;
  }

  private static ThreadGroup outermostGroup() {
    ThreadGroup group = Thread.currentThread().getThreadGroup();
    while (group.getParent() != null) {
      group = group.getParent();
    }
    return group;
  }
}
