// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** An endpoint, and how it does in one pull. Safe for use from several threads. */
final class Source {
  private final Endpoint endpoint;
  private final Authorizers authorizers;
  private final Pause pause;
  private int failures; // in a row
  private long readyAt; // by the clock of pause

  Source(Endpoint endpoint, Authorizers authorizers, Pause pause) {
    this.endpoint = endpoint;
    this.authorizers = authorizers;
    this.pause = pause;
  }

  Endpoint endpoint() {
    return endpoint;
  }

  Authorizers authorizers() {
    return authorizers;
  }

  /** Whether what it was last asked for failed for a reason of its own. */
  synchronized boolean isFailing() {
    return failures > 0;
  }

  /** How long it is not to be asked anything; zero when it can be. */
  synchronized Duration untilReady() {
    long left = failures == 0 ? 0 : readyAt - pause.nanoTime();
    return Duration.ofNanos(Math.max(left, 0));
  }

  synchronized void succeeded() {
    failures = 0;
  }

  /**
   * @param wanted for how long it wants no other request, if it said so
   */
  synchronized void failed(@Nullable Duration wanted) {
    failures++;
    Duration delay = wanted == null || wanted.isZero() ? Backoff.delay(failures) : wanted;
    readyAt = pause.nanoTime() + delay.toNanos();
  }
}
