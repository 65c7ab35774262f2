// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import java.lang.System.Logger.Level;
import java.util.concurrent.TimeUnit;

/** A thread of a virtual machine: a daemon that keeps nothing of whoever made it reachable. */
final class MachineThread extends Thread {
  private static final System.Logger LOGGER = System.getLogger(MachineThread.class.getName());

  /** What one that is stuck, in a callback that blocks, is waited for. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);

  MachineThread(Runnable work, String name) {
    super(null, work, name, 0, false);
    setDaemon(true);
    setContextClassLoader(MachineThread.class.getClassLoader());
  }

  /** Whether the caller is on a thread of some virtual machine, which none may keep waiting. */
  static boolean isCurrent() {
    return Thread.currentThread() instanceof MachineThread;
  }

  /**
   * Waits until it has ended, for a limited time, after which the log names it; not at all on a
   * machine's thread. Interrupts are kept for later.
   */
  void awaitEnd() {
    if (isCurrent()) {
      return;
    }
    boolean interrupted = false;
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    while (true) {
      try {
        TimeUnit.NANOSECONDS.timedJoin(this, deadline - System.nanoTime());
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (isAlive()) {
      LOGGER.log(
          Level.WARNING,
          "{0} is stuck in a callback; what it uses is released when that ends",
          getName());
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
