// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.agent.ProcessRequest;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/** A process whose outputs are streamed. */
final class RunningProcess implements GuestProcess, ProcessListener {
  private final AgentClient client;
  private final RunningSandbox sandbox;
  private final AgentProcess process;
  private final boolean terminal;
  private final Signal stopSignal;
  private final @Nullable StdinFeed feed;
  private final StdinPipe stdin;
  private final OutputPipe stdout = new OutputPipe(this::resumeIfRoom);
  private final OutputPipe stderr = new OutputPipe(this::resumeIfRoom);
  private final CompletableFuture<Long> started = new CompletableFuture<>();

  /** Completes on an event loop. */
  private final CompletableFuture<ExitStatus> ended = new CompletableFuture<>();

  private boolean paused;
  private volatile boolean closed;

  RunningProcess(
      RunningSandbox sandbox,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      Signal stopSignal,
      @Nullable Duration deadline) {
    this.stopSignal = stopSignal;
    this.sandbox = sandbox;
    this.client = client;
    terminal = spec.terminal().isPresent();
    byte[] content = spec.stdinBytes();
    feed = content == null ? null : new StdinFeed(content);
    // Events may come before the constructor has returned, and wait for its end.
    synchronized (this) {
      process = client.run(request, this, deadline);
      stdin = new StdinPipe(process);
    }
  }

  static ProcessException notStarted(StartFailure reason, String message) {
    ProcessException.Reason mapped =
        switch (reason) {
          case COMMAND_NOT_FOUND -> ProcessException.Reason.COMMAND_NOT_FOUND;
          case COMMAND_NOT_EXECUTABLE -> ProcessException.Reason.COMMAND_NOT_EXECUTABLE;
          case UNKNOWN_USER -> ProcessException.Reason.UNKNOWN_USER;
          case BAD_WORKING_DIRECTORY -> ProcessException.Reason.BAD_WORKING_DIRECTORY;
          case OTHER -> ProcessException.Reason.NOT_STARTED;
        };
    return new ProcessException(mapped, "The process could not be started: " + message, null, null);
  }

  /** Completes when it runs; fails as {@link #ended} does. */
  CompletableFuture<Long> started() {
    return started;
  }

  @Override
  public void onStarted(long pid) {
    if (feed != null) {
      feed.pump(running());
    }
    started.complete(pid);
  }

  private synchronized AgentProcess running() {
    return process;
  }

  private synchronized StdinPipe input() {
    return stdin;
  }

  @Override
  public synchronized boolean onOutput(boolean error, ByteBuffer bytes) {
    (error ? stderr : stdout).add(bytes);
    paused = stdout.isFull() || stderr.isFull();
    return !paused;
  }

  private void resumeIfRoom() {
    synchronized (this) {
      if (!paused || stdout.isFull() || stderr.isFull()) {
        return;
      }
      paused = false;
    }
    process.resume();
  }

  @Override
  public void onWritable() {
    if (feed != null) {
      feed.pump(running());
    }
    input().onWritable();
  }

  @Override
  public void onExit(ExitStatus status) {
    finish(null);
    ended.complete(status);
  }

  @Override
  public void onStartFailed(StartFailure reason, String message, int errno) {
    fail(notStarted(reason, message), message);
  }

  @Override
  public void onFailure(AgentException failure) {
    if (closed && failure.kind() == AgentException.Kind.CANCELLED) {
      finish("the process was killed");
      ended.complete(killed());
      started.completeExceptionally(failure);
    } else {
      fail(failure, "the sandbox has ended, or lost the process: " + failure.getMessage());
    }
  }

  private void fail(Exception failure, String why) {
    finish(why);
    started.completeExceptionally(failure);
    ended.completeExceptionally(failure);
  }

  private void finish(@Nullable String failure) {
    stdout.end(failure);
    stderr.end(failure);
    input().end();
  }

  private static ExitStatus killed() {
    return new ExitStatus(
        128 + Signal.KILL.number(),
        Optional.of(Signal.KILL),
        false,
        false,
        Duration.ZERO,
        Duration.ZERO,
        DataSize.bytes(0));
  }

  @Override
  public long pid() {
    return started.join();
  }

  @Override
  public OutputStream stdin() {
    return stdin;
  }

  @Override
  public InputStream stdout() {
    return stdout;
  }

  @Override
  public InputStream stderr() {
    return stderr;
  }

  @Override
  public CompletableFuture<ExitStatus> onExit() {
    return sandbox.translated(ended);
  }

  @Override
  public ExitStatus waitFor() {
    return sandbox.await(ended);
  }

  @Override
  public Optional<ExitStatus> waitFor(Duration timeout) {
    try {
      ended.get(Math.max(0, timeout.toNanos()), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      return Optional.empty();
    } catch (ExecutionException e) {
      // Told below.
    } catch (InterruptedException e) {
      throw RunningSandbox.interrupted(e);
    }
    return Optional.of(sandbox.await(ended));
  }

  @Override
  public boolean isAlive() {
    return !ended.isDone();
  }

  @Override
  public void signal(Signal signal) {
    signal(signal, false);
  }

  @Override
  public void signalGroup(Signal signal) {
    signal(signal, true);
  }

  @Override
  public ExitStatus stop(Duration grace) {
    if (!grace.isNegative() && !grace.isZero()) {
      signal(stopSignal);
      Optional<ExitStatus> status = waitFor(grace);
      if (status.isPresent()) {
        return status.get();
      }
    }
    close();
    return waitFor();
  }

  private void signal(Signal signal, boolean group) {
    if (!ended.isDone()) {
      sandbox.await(unlessEnded(client.signal(process.id(), signal, group)));
    }
  }

  @Override
  public void resize(TerminalSize size) {
    if (!terminal) {
      throw new IllegalStateException("the process has no terminal");
    }
    if (!ended.isDone()) {
      sandbox.await(unlessEnded(client.resize(process.id(), size)));
    }
  }

  private static CompletableFuture<@Nullable Void> unlessEnded(CompletableFuture<Void> call) {
    return call.handle(
        (done, failure) -> {
          if (failure == null
              || (Failures.cause(failure) instanceof AgentException e
                  && e.kind() == AgentException.Kind.NOT_FOUND)) {
            return null;
          }
          throw new CompletionException(Failures.cause(failure));
        });
  }

  @Override
  public void close() {
    closed = true;
    stdin.close();
    stdout.close();
    stderr.close();
    process.cancel();
  }
}
