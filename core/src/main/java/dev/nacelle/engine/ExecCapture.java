// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.Output;
import dev.nacelle.ProcessException;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.agent.ProcessRequest;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A process whose outputs are kept, up to a limit, until it ends. */
final class ExecCapture implements ProcessListener {
  /**
   * What a shell returns for a command that it did not find, or could not execute (POSIX 2.8.2).
   */
  private static final int NOT_FOUND = 127;

  private static final int NOT_EXECUTABLE = 126;

  private final long start = System.nanoTime();
  private final CompletableFuture<ExitStatus> ended = new CompletableFuture<>();
  private final Buffer stdout;
  private final Buffer stderr;
  private final StdinFeed stdin;
  private final AgentProcess process;
  private long nanos;

  private static final class Buffer {
    private final Kept kept = new Kept();
    private final int limit;
    private boolean truncated;

    Buffer(int limit) {
      this.limit = limit;
    }

    void add(ByteBuffer bytes) {
      int room = limit - kept.size();
      truncated |= bytes.remaining() > room;
      byte[] part = new byte[Math.min(room, bytes.remaining())];
      bytes.get(part);
      kept.writeBytes(part);
    }

    Output output() {
      return Output.of(kept.view(), truncated);
    }
  }

  private static final class Kept extends ByteArrayOutputStream {
    ByteBuffer view() {
      return ByteBuffer.wrap(buf, 0, count);
    }
  }

  ExecCapture(
      AgentClient client,
      ProcessRequest request,
      byte[] stdin,
      int limit,
      @Nullable Duration deadline) {
    stdout = new Buffer(limit);
    stderr = new Buffer(limit);
    this.stdin = new StdinFeed(stdin);
    process = client.process(request, this, deadline);
  }

  /**
   * Starts it; once.
   *
   * @return fails with {@link AgentException} or {@link ProcessException}; completes on an event
   *     loop
   */
  CompletableFuture<ExitStatus> start() {
    process.start();
    return ended;
  }

  /** What came of it, after it has ended. Copies the outputs: not for an event loop. */
  ExecResult result(ExitStatus status) {
    return new ExecResult(status, stdout.output(), stderr.output(), Duration.ofNanos(nanos));
  }

  void cancel() {
    process.cancel();
  }

  @Override
  public void onStarted(long pid) {
    stdin.pump(process);
  }

  @Override
  public boolean onOutput(boolean error, ByteBuffer bytes) {
    (error ? stderr : stdout).add(bytes);
    return true;
  }

  @Override
  public void onWritable() {
    stdin.pump(process);
  }

  @Override
  public void onExit(ExitStatus status) {
    nanos = System.nanoTime() - start;
    ended.complete(status);
  }

  @Override
  public void onStartFailed(StartFailure reason, String message) {
    switch (reason) {
      case COMMAND_NOT_FOUND -> completeAsShell(NOT_FOUND, message);
      case COMMAND_NOT_EXECUTABLE -> completeAsShell(NOT_EXECUTABLE, message);
      default -> ended.completeExceptionally(GuestCalls.notStarted(reason, message));
    }
  }

  private void completeAsShell(int code, String message) {
    stderr.add(StandardCharsets.UTF_8.encode(message + "\n"));
    onExit(ExitStatus.of(code, Optional.empty()));
  }

  @Override
  public void onFailure(AgentException failure) {
    ended.completeExceptionally(failure);
  }
}
