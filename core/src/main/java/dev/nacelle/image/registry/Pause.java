// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.time.Duration;

/** Lets time pass between attempts; tests do not. */
@FunctionalInterface
public interface Pause {
  /** What everybody but tests uses. */
  Pause SLEEP = duration -> Thread.sleep(duration.toMillis());

  /** Returns when that is over. */
  void sleep(Duration duration) throws InterruptedException;
}
