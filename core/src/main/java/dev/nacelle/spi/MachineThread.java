// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

/**
 * A thread of a virtual machine, a daemon, for hypervisors. It takes nothing over from whoever
 * makes it: no inheritable thread-locals, thread group or class loader, which would stay reachable
 * for as long as the machine lives. All of a hypervisor's threads are such.
 */
public final class MachineThread extends Thread {
  private final boolean closer;

  /**
   * @param name of the thread
   */
  public MachineThread(Runnable work, String name) {
    this(work, name, false);
  }

  @SuppressWarnings("ThreadPriorityCheck") // not relied upon: not the caller's, either
  private MachineThread(Runnable work, String name, boolean closer) {
    super(outermostGroup(), work, name, 0, false);
    this.closer = closer;
    setDaemon(true);
    setPriority(NORM_PRIORITY);
    setContextClassLoader(MachineThread.class.getClassLoader());
  }

  /**
   * One that closes a machine, for whoever is on a thread of one: it may wait for those, and is
   * none of them to {@link #isCurrent()}.
   *
   * @param name of the thread
   */
  public static MachineThread closer(Runnable work, String name) {
    return new MachineThread(work, name, true);
  }

  /** Whether the caller is on a thread of some virtual machine, which none may keep waiting. */
  public static boolean isCurrent() {
    return Thread.currentThread() instanceof MachineThread thread && !thread.closer;
  }

  private static ThreadGroup outermostGroup() {
    ThreadGroup group = Thread.currentThread().getThreadGroup();
    while (group.getParent() != null) {
      group = group.getParent();
    }
    return group;
  }
}
