// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/** A unikernel that runs, or has ended. Safe for use from several threads. */
public interface Unikernel extends AutoCloseable {
  /** What it was started with. */
  UnikernelSpec spec();

  /** Its name. */
  String name();

  /** Whether it has not ended yet. */
  boolean isAlive();

  /** The end of its console's output so far, as in {@link UnikernelExit#console()}. */
  String console();

  /** Counters since its start. */
  VmStatistics statistics();

  /**
   * Completes when it has ended, by itself or not, and everything of it is released; on a thread
   * where dependents may block. Never completes exceptionally.
   */
  CompletableFuture<UnikernelExit> onExit();

  /**
   * Waits for its end.
   *
   * @throws InterruptedOperationException when the thread is interrupted; it runs on
   */
  UnikernelExit waitFor();

  /**
   * Waits for its end, but not for longer.
   *
   * @return nothing when the time is up; it runs on
   * @throws InterruptedOperationException when the thread is interrupted; it runs on
   */
  Optional<UnikernelExit> waitFor(Duration timeout);

  /**
   * Ends it at once, unless it has ended, and releases everything. Returns when that is done, other
   * than on the thread that calls its {@linkplain UnikernelSpec.Builder#console console listener},
   * which it does not wait on. Idempotent; does not throw.
   */
  @Override
  void close();
}
