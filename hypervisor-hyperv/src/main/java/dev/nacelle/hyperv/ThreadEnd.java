// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.spi.MachineThread;
import java.lang.System.Logger.Level;
import java.util.concurrent.TimeUnit;

/** Waits for threads of machines, which call users back and may be stuck there. */
final class ThreadEnd {
  /** What one that is stuck, in a callback that blocks, is waited for. */
  private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);

  private ThreadEnd() {}

  /**
   * Waits until it has ended, for a limited time, after which the log names it; not at all on a
   * machine's thread. Interrupts are kept for later.
   */
  static void await(MachineThread thread) {
    if (MachineThread.isCurrent()) {
      return;
    }
    boolean interrupted = false;
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    while (true) {
      try {
        TimeUnit.NANOSECONDS.timedJoin(thread, deadline - System.nanoTime());
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (thread.isAlive()) {
      System.getLogger(ThreadEnd.class.getName())
          .log(
              Level.WARNING,
              "{0} is stuck in a callback; what it uses is released when that ends",
              thread.getName());
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
