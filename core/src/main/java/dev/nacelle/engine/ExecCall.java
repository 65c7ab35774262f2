// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ExitStatus;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.agent.ProcessRequest;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A process that is run to its end, and told of as a shell does. */
abstract class ExecCall implements ProcessListener {
  /**
   * What a shell returns for a command that it did not find, or could not execute (POSIX 2.8.2).
   */
  private static final int NOT_FOUND = 127;

  private static final int NOT_EXECUTABLE = 126;

  private final CompletableFuture<ExitStatus> ended = new CompletableFuture<>();
  private final AgentClient client;
  private final AgentProcess process;
  private final OutputGate gate;
  private final @Nullable StdinSource stdin;
  private boolean killed;

  /**
   * @param limit of each output, in bytes
   */
  ExecCall(
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      long limit,
      @Nullable Duration deadline) {
    this.client = client;
    gate = new OutputGate(spec, limit);
    process = client.process(request, this, deadline);
    stdin = spec.stdin().map(source -> new StdinSource(process, source, this::fail)).orElse(null);
  }

  /**
   * Starts it; once.
   *
   * @return fails with {@link AgentException} or {@link ProcessException}; completes on an event
   *     loop, or on one that reads stdin
   */
  final CompletableFuture<ExitStatus> start() {
    process.start();
    return ended;
  }

  final boolean truncated(boolean error) {
    return gate.truncated(error);
  }

  /** Gives it up; the guest kills it with all that it started. */
  final void cancel() {
    process.cancel();
  }

  /** Asks for more output after {@link #take} returned false. */
  final void resume() {
    process.resume();
  }

  /**
   * Takes output.
   *
   * @return whether more may come now
   */
  abstract boolean take(boolean error, ByteBuffer bytes);

  /** Nothing more comes. Called before the future completes. */
  abstract void onEnd();

  @Override
  public final void onStarted(long pid) {
    if (stdin != null) {
      stdin.onStarted();
    }
  }

  @Override
  public final boolean onOutput(boolean error, ByteBuffer bytes) {
    boolean counted = gate.isError(error);
    if (gate.cut(counted, bytes)) {
      killed = true;
      var unused = client.kill(process);
    }
    return !bytes.hasRemaining() || take(counted, bytes);
  }

  @Override
  public final void onWritable() {
    if (stdin != null) {
      stdin.onWritable();
    }
  }

  @Override
  public final void onExit(ExitStatus status) {
    end();
    ended.complete(gate.truncated() ? status.toBuilder().outputTruncated(true).build() : status);
  }

  @Override
  public final void onStartFailed(StartFailure reason, String message) {
    switch (reason) {
      case COMMAND_NOT_FOUND -> completeAsShell(NOT_FOUND, message);
      case COMMAND_NOT_EXECUTABLE -> completeAsShell(NOT_EXECUTABLE, message);
      default -> fail(GuestCalls.notStarted(reason, message));
    }
  }

  private void completeAsShell(int code, String message) {
    onOutput(true, StandardCharsets.UTF_8.encode(message + "\n"));
    onExit(ExitStatus.of(code));
  }

  @Override
  public final void onFailure(AgentException failure) {
    if (killed && failure.kind() == AgentException.Kind.CANCELLED) {
      // Killed for what it wrote, by a guest that does not say so.
      onExit(ExitStatus.of(Signal.KILL));
    } else {
      end();
      ended.completeExceptionally(failure);
    }
  }

  private void fail(ProcessException failure) {
    onEnd();
    ended.completeExceptionally(failure);
    cancel();
  }

  private void end() {
    if (stdin != null) {
      stdin.end();
    }
    onEnd();
  }
}
