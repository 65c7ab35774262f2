// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.concurrent.CompletableFuture;

/**
 * A process in a sandbox that is there and waits before its command: it has its PID, namespaces,
 * control group, limits, working directory and user, and what is run meanwhile sees it. Made by
 * {@link Sandbox#hold}; not meant to be implemented by others. Safe for use from several threads.
 *
 * <p>It waits for as long as its sandbox lives. The times of {@link ProcessSpec#startTimeout()} and
 * {@link ProcessSpec#timeout()} begin with its release.
 */
public interface HeldProcess extends AutoCloseable {
  /** Its process ID, as the sandbox's processes see it. */
  long pid();

  /** Whether its end is not known yet; also after its release. */
  boolean isAlive();

  /**
   * Sends it a signal; nothing happens when it has ended. One that would end a process by default
   * ends it, also where it is PID 1: with the exit code 128 plus the signal's number then. {@link
   * Signal#KILL} and {@link Signal#STOP} do what they always do, others are lost.
   *
   * @throws SandboxEndedException when the sandbox has ended
   * @throws ProcessException when the guest does not answer within five seconds
   */
  void signal(Signal signal);

  /** As {@link GuestProcess#onExit()}, whether it was released or not. */
  CompletableFuture<ExitStatus> onExit();

  /**
   * Lets it execute its command, and returns when it does.
   *
   * @throws IllegalStateException when it was released before
   * @throws ProcessException when its command could not be executed, and then it has ended; or when
   *     it had ended before
   * @throws SandboxEndedException when the sandbox ends first
   * @throws InterruptedOperationException when the thread is interrupted; the process is killed
   */
  GuestProcess release();

  /** Kills it, unless it was released. */
  @Override
  void close();
}
