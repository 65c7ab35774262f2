// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.time.Duration;

/** Lets time pass between attempts; tests do not. */
@FunctionalInterface
public interface Pause {
  /** What everybody but tests uses. */
  Pause SLEEP = duration -> Thread.sleep(duration.toMillis());

  /** The clock, as {@link System#nanoTime}. */
  default long nanoTime() {
    return System.nanoTime();
  }

  /** Returns when that is over. */
  void sleep(Duration duration) throws InterruptedException;
}
