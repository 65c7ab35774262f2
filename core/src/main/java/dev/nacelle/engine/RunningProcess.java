// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.agent.ProcessRequest;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** A process whose outputs are streamed. */
final class RunningProcess extends ProcessInHand implements ProcessListener {
  private final AgentClient client;
  private final AgentProcess process;
  private final @Nullable StdinSource source;
  private final StdinPipe stdin;
  private final OutputGate gate;
  private final OutputPipe stdout = new OutputPipe(this::resumeIfRoom);
  private final OutputPipe stderr = new OutputPipe(this::resumeIfRoom);
  private final CompletableFuture<Long> started = new CompletableFuture<>();

  /** Completes on an event loop. */
  private final CompletableFuture<ExitStatus> ended = new CompletableFuture<>();

  private boolean paused;

  /** Whether more output is to wait, so that whom it would let go on is killed first. */
  private boolean held;

  /** Whether output is dropped for which there is no room. */
  private boolean draining;

  private volatile boolean killed;

  RunningProcess(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      Signal stopSignal,
      @Nullable Duration deadline) {
    super(calls, client, spec.terminal().isPresent(), stopSignal);
    this.client = client;
    gate = new OutputGate(spec, spec.outputLimit().map(DataSize::bytes).orElse(Long.MAX_VALUE));
    process = client.process(request, this, deadline);
    source =
        spec.stdin()
            .map(given -> new StdinSource(process, given, this::onStdinFailure))
            .orElse(null);
    stdin = new StdinPipe(process, source != null);
  }

  /**
   * Starts it; once.
   *
   * @return completes when it runs; fails as {@link #ended} does
   */
  CompletableFuture<Long> start() {
    process.start();
    return started;
  }

  @Override
  CompletableFuture<ExitStatus> ended() {
    return ended;
  }

  @Override
  CompletableFuture<Long> started() {
    return started;
  }

  @Override
  long id() {
    return process.id();
  }

  @Override
  public void onStarted(long pid) {
    if (source != null) {
      source.onStarted();
    }
    started.complete(pid);
  }

  private void onStdinFailure(ProcessException failure) {
    fail(failure, failure.getMessage());
    process.cancel();
  }

  @Override
  public boolean onOutput(boolean error, ByteBuffer bytes) {
    boolean counted = gate.isError(error);
    if (gate.cut(counted, bytes)) {
      kill();
    }
    return !bytes.hasRemaining() ? mayGoOn() : add(counted ? stderr : stdout, bytes);
  }

  private synchronized boolean mayGoOn() {
    paused = held || isFull();
    return !paused;
  }

  private synchronized boolean add(OutputPipe pipe, ByteBuffer bytes) {
    if (!draining || !pipe.isFull()) {
      pipe.add(bytes);
    }
    return mayGoOn();
  }

  private boolean isFull() {
    return !draining && (stdout.isFull() || stderr.isFull());
  }

  private void resumeIfRoom() {
    synchronized (this) {
      if (!paused || held || isFull()) {
        return;
      }
      paused = false;
    }
    process.resume();
  }

  @Override
  public void onWritable() {
    if (source != null) {
      source.onWritable();
    }
    stdin.onWritable();
  }

  @Override
  public void onExit(ExitStatus status) {
    endPipes(null);
    ended.complete(limited(status));
  }

  @Override
  public void onStartFailed(StartFailure reason, String message) {
    fail(GuestCalls.notStarted(reason, message), message);
  }

  @Override
  public void onFailure(AgentException failure) {
    if (killed && failure.kind() == AgentException.Kind.CANCELLED) {
      // The guest killed it, or will when it hears of it; that is all that is known.
      endPipes("the process was killed");
      ended.complete(limited(ExitStatus.of(Signal.KILL)));
      started.completeExceptionally(failure);
    } else {
      fail(failure, "the sandbox has ended, or lost the process: " + failure.getMessage());
    }
  }

  private ExitStatus limited(ExitStatus status) {
    return gate.truncated() ? status.toBuilder().outputTruncated(true).build() : status;
  }

  private void fail(Exception failure, @Nullable String why) {
    endPipes(why);
    started.completeExceptionally(failure);
    ended.completeExceptionally(failure);
  }

  private void endPipes(@Nullable String failure) {
    stdout.end(failure);
    stderr.end(failure);
    stdin.end();
    if (source != null) {
      source.end();
    }
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
  public void close() {
    // First: that there is room again, or no more input, must not reach the process.
    if (!ended.isDone()) {
      kill();
    }
    stdin.end();
    stdout.close();
    stderr.close();
  }

  @Override
  void kill() {
    killed = true;
    synchronized (this) {
      held = true;
      draining = true;
    }
    var unused =
        client
            .kill(process)
            .thenRun(
                () -> {
                  synchronized (this) {
                    held = false;
                  }
                  resumeIfRoom();
                });
  }
}
