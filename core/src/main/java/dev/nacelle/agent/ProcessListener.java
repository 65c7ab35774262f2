// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.ExitStatus;
import java.nio.ByteBuffer;

/**
 * Learns what a process of the guest does. All calls come in order, one at a time, on an event loop
 * that many guests share: they must not block. Exactly one of {@link #onStartFailed}, {@link
 * #onExit} and {@link #onFailure} is called, and nothing after it.
 */
public interface ProcessListener {
  /** Why a process could not be started. */
  enum StartFailure {
    COMMAND_NOT_FOUND,
    COMMAND_NOT_EXECUTABLE,
    UNKNOWN_USER,
    BAD_WORKING_DIRECTORY,
    TIMED_OUT,
    OTHER
  }

  /**
   * It is held: it waits for {@link AgentProcess#release()}, and may end before that.
   *
   * @param pid in the workload's PID namespace
   */
  default void onCreated(long pid) {}

  /**
   * It runs.
   *
   * @param pid in the workload's PID namespace
   */
  void onStarted(long pid);

  /**
   * It wrote something.
   *
   * @param error whether to stderr
   * @param bytes at least one; the listener may keep the buffer
   * @return whether more may come now; otherwise nothing but {@link #onWritable()} and {@link
   *     #onFailure} comes before {@link AgentProcess#resume()}, and the guest's process blocks soon
   */
  boolean onOutput(boolean error, ByteBuffer bytes);

  /** {@link AgentProcess#isWritable()} has turned true, after {@link #onStarted}. */
  void onWritable();

  /** It ended, after all of its output. */
  void onExit(ExitStatus status);

  /** It never ran. */
  void onStartFailed(StartFailure reason, String message);

  /** Nothing more is known of it: the guest ended, or misbehaved, or the call was cancelled. */
  void onFailure(AgentException failure);
}
