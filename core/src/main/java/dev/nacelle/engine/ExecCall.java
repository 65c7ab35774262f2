// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ExitStatus;
import dev.nacelle.ProcessSpec;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.ProcessRequest;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** A process that is run to its end, and told of as a shell does. */
abstract class ExecCall extends ProcessCall {
  /**
   * What a shell returns for a command that it did not find, or could not execute (POSIX 2.8.2).
   */
  private static final int NOT_FOUND = 127;

  private static final int NOT_EXECUTABLE = 126;

  /** As {@link ProcessCall}. */
  ExecCall(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      long limit,
      @Nullable Duration deadline) {
    super(calls, client, spec, request, limit, deadline);
  }

  @Override
  public final void onStartFailed(StartFailure reason, String message) {
    switch (reason) {
      case COMMAND_NOT_FOUND -> completeAsShell(NOT_FOUND, message);
      case COMMAND_NOT_EXECUTABLE -> completeAsShell(NOT_EXECUTABLE, message);
      default -> super.onStartFailed(reason, message);
    }
  }

  private void completeAsShell(int code, String message) {
    onOutput(true, StandardCharsets.UTF_8.encode(message + "\n"));
    onExit(ExitStatus.of(code));
  }
}
