// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

/** A thread of a virtual machine: a daemon that keeps nothing of whoever made it reachable. */
final class MachineThread extends Thread {
  MachineThread(Runnable work, String name) {
    super(null, work, name, 0, false);
    setDaemon(true);
    setContextClassLoader(MachineThread.class.getClassLoader());
  }

  /** Whether the caller is on a thread of some virtual machine, which none may keep waiting. */
  static boolean isCurrent() {
    return Thread.currentThread() instanceof MachineThread;
  }
}
