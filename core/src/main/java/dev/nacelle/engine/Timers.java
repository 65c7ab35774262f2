// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import java.time.Duration;
import java.util.concurrent.Future;

/** Runs something later. */
@FunctionalInterface
interface Timers {
  /**
   * Runs a task after that long, unless it is cancelled.
   *
   * @param task must not block
   */
  Future<?> schedule(Runnable task, Duration delay);
}
