// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Calls a listener of a user's: what it throws, errors included, is logged the first time and
 * otherwise ignored, so that it is neither a failure of what it is told of nor a flood of the log.
 * Safe for use from several threads.
 */
public final class ListenerGuard {
  private final String what;
  private final AtomicBoolean logged = new AtomicBoolean();

  /**
   * @param what is called, for the log
   */
  public ListenerGuard(String what) {
    this.what = what;
  }

  /** Runs what calls the listener. */
  public void run(Runnable call) {
    try {
      call.run();
    } catch (Throwable e) {
      if (logged.compareAndSet(false, true)) {
        System.getLogger(ListenerGuard.class.getName())
            .log(
                System.Logger.Level.WARNING,
                what + " failed; it is called again, and told of here only once",
                e);
      }
    }
  }
}
