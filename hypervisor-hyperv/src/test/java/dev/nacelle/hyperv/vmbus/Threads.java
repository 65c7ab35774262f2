// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import java.util.concurrent.TimeUnit;

/** Waiting for threads. */
final class Threads {
  private static final long PATIENCE_SECONDS = 60;

  private Threads() {}

  /** Waits for its end, which comes soon. */
  static void join(Thread thread) {
    try {
      TimeUnit.SECONDS.timedJoin(thread, PATIENCE_SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    if (thread.isAlive()) {
      throw new IllegalStateException(thread + " does not end");
    }
  }
}
