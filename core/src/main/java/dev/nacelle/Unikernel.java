// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.List;
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

  /** As {@link #pause(String)}, for the reason {@code "user"}. */
  default Pause pause() {
    return pause("user");
  }

  /**
   * Has its machine stand still until the pause is closed, as {@link Sandbox#pause(String)} does.
   * Its clocks stand, as far as the hypervisor sees to that, and go on where they were: nobody sets
   * them afterwards. Of them the real-time clock of the machine is the host's, and jumps. Its
   * {@link UnikernelSpec#timeout()} does not count the pause; {@link #waitFor(Duration)} does.
   *
   * @param reason who or what for, for {@link #pauses()}
   * @return the pause; {@link Pause#close()} ends it
   * @throws UnsupportedOperationException when the hypervisor of this host cannot pause machines
   * @throws HypervisorException as with a sandbox; the unikernel then ends
   * @throws IllegalStateException when it has ended
   */
  Pause pause(String reason);

  /**
   * The reasons of those that hold it paused, in the order in which they began; empty while it
   * runs.
   */
  List<String> pauses();

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
