// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.TerminalSize;
import dev.nacelle.proto.agent.v1.ProcessSpec;
import dev.nacelle.proto.agent.v1.Terminal;
import dev.nacelle.proto.agent.v1.WindowSize;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A process as the agent starts it, with every default resolved.
 *
 * @param arguments at least one
 * @param environment {@code NAME=value} each; all that the process gets
 * @param workingDirectory absolute
 * @param user as in an image's configuration; empty is root
 * @param terminal size of its terminal, or null for three pipes
 * @param timeoutNanos after which the agent kills it; 0 for never
 * @param stdin whether stdin is a pipe; otherwise it is empty
 * @param stopSignal number of what asks it, and it alone, to end when the machine shuts down; 0 for
 *     SIGTERM to it and all that it started
 * @param lingerNanos how long outputs that others hold are heard after its exit; negative for the
 *     agent's default
 * @param startTimeoutNanos how long it may take until it executes its command; 0 for the agent's
 *     default
 * @param pidOne whether it is PID 1 of a namespace that what is started meanwhile joins
 * @param outputs what becomes of what it writes
 * @param confinement what it may do; null for the agent's default
 * @param executable the file to execute; empty for what the first argument names
 * @param hold whether it waits for its {@linkplain AgentProcess#release() release} before that
 */
public record ProcessRequest(
    List<String> arguments,
    List<String> environment,
    String workingDirectory,
    String user,
    @Nullable TerminalSize terminal,
    long timeoutNanos,
    boolean stdin,
    int stopSignal,
    long lingerNanos,
    long startTimeoutNanos,
    boolean pidOne,
    Outputs outputs,
    @Nullable Confinement confinement,
    String executable,
    boolean hold) {
  /**
   * What becomes of what a process writes, in the guest.
   *
   * @param merged whether stderr is the pipe that stdout is; of no effect with a terminal
   * @param discardStdout whether stdout is not sent; a terminal's and merged output is stdout's
   * @param discardStderr whether stderr is not sent
   */
  public record Outputs(boolean merged, boolean discardStdout, boolean discardStderr) {
    /** Both are sent, each by itself. */
    public static final Outputs APART = new Outputs(false, false, false);
  }

  ProcessSpec toProto() {
    ProcessSpec.Builder spec =
        ProcessSpec.newBuilder()
            .addAllArguments(arguments)
            .addAllEnvironment(environment)
            .setWorkingDirectory(workingDirectory)
            .setUser(user)
            .setTimeoutNanos(timeoutNanos)
            .setStdin(stdin)
            .setStopSignal(stopSignal)
            .setStartTimeoutNanos(startTimeoutNanos)
            .setPidOne(pidOne)
            .setExecutable(executable)
            .setHold(hold)
            .setMergeStderr(outputs.merged())
            .setDiscardStdout(outputs.discardStdout())
            .setDiscardStderr(outputs.discardStderr());
    if (confinement != null) {
      spec.setSecurity(confinement.toProto());
    }
    if (lingerNanos >= 0) {
      spec.setLingerNanos(lingerNanos);
    }
    if (terminal != null) {
      spec.setTerminal(Terminal.newBuilder().setSize(size(terminal)));
    }
    return spec.build();
  }

  static WindowSize size(TerminalSize size) {
    return WindowSize.newBuilder().setRows(size.rows()).setColumns(size.columns()).build();
  }
}
