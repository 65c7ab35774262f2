// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ExitStatus;
import dev.nacelle.GuestIOException;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentProcess;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.agent.ProcessRequest;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A process of the guest, from the request until its end is known; whoever runs one differs in what
 * becomes of its outputs. Safe for use from several threads.
 */
abstract class ProcessCall implements ProcessListener {
  private final GuestCalls calls;
  private final AgentClient client;
  private final AgentProcess process;
  private final OutputGate gate;
  private final @Nullable StdinSource source;
  private final StdinPipe stdin;
  private final boolean terminal;
  private final CompletableFuture<Long> created = new CompletableFuture<>();
  private final CompletableFuture<Long> started = new CompletableFuture<>();
  private final CompletableFuture<ExitStatus> ended = new CompletableFuture<>();

  /** Whether the guest waits for a word before it sends more output. */
  private boolean paused; // guarded by this

  /** Whether output is to wait, so that whom it would let go on is killed first. */
  private boolean held; // guarded by this

  private volatile boolean killed;

  /**
   * @param limit of each output, in bytes
   * @param deadline as {@link AgentClient#process} takes it
   */
  ProcessCall(
      GuestCalls calls,
      AgentClient client,
      ProcessSpec spec,
      ProcessRequest request,
      long limit,
      @Nullable Duration deadline) {
    this.calls = calls;
    this.client = client;
    terminal = spec.terminal().isPresent();
    gate = new OutputGate(spec, limit);
    process = client.process(request, this, deadline);
    source =
        spec.stdin()
            .map(given -> new StdinSource(process, given, this::onStdinFailure))
            .orElse(null);
    stdin = new StdinPipe(process, source != null);
  }

  /** The limit of each output of a process whose outputs are not kept, in bytes. */
  static long streamLimit(ProcessSpec spec) {
    return spec.outputLimit().map(limit -> limit.bytes()).orElse(Long.MAX_VALUE);
  }

  /** Starts it; once. */
  final void start() {
    process.start();
  }

  /** The agent's name for it. */
  final long id() {
    return process.id();
  }

  /** Completes with its PID when it is held, if it is to be; fails as {@link #ended} does. */
  final CompletableFuture<Long> created() {
    return created;
  }

  /** Lets it go that is held; what comes is as after the start of another. */
  final void release() {
    process.release();
  }

  /**
   * Completes with its PID when it runs; fails as {@link #ended} does, and when one that was held
   * ended before its release.
   */
  final CompletableFuture<Long> started() {
    return started;
  }

  /**
   * Completes with its end, or fails with {@link AgentException} or {@link ProcessException}, also
   * when it did not start; on an event loop, or on a thread that reads what is to be its stdin.
   */
  final CompletableFuture<ExitStatus> ended() {
    return ended;
  }

  final boolean hasTerminal() {
    return terminal;
  }

  /** What it reads; closed already where its specification says what that is. */
  final OutputStream stdin() {
    return stdin;
  }

  /** Whether something of that output was beyond its limit. */
  final boolean truncated(boolean error) {
    return gate.truncated(error);
  }

  /** Whether it is killed, or about to be, and its output is to wait for nobody. */
  final boolean killed() {
    return killed;
  }

  /** Who writes to its stdin is told that it has ended; the process is told nothing. */
  final void abandonStdin() {
    stdin.end(GuestCalls.KILLED);
  }

  /** Gives it up; the guest kills it with all that it started. */
  final void cancel() {
    process.cancel();
  }

  /** Kills it with all that it started; its end is told. */
  final void kill() {
    synchronized (this) {
      held = true;
      killed = true;
    }
    var unused =
        client
            .kill(process)
            .thenRun(
                () -> {
                  synchronized (this) {
                    held = false;
                  }
                  goOn();
                });
  }

  /** Asks for more output where that waits and need not any more. */
  final void goOn() {
    synchronized (this) {
      if (!paused || mustWait()) {
        return;
      }
      paused = false;
    }
    process.resume();
  }

  /** The caller holds the lock. */
  private boolean mustWait() {
    return held || isFull();
  }

  /** Takes output, at least one byte of it; the caller holds the lock. */
  abstract void take(boolean error, ByteBuffer bytes);

  /** Whether output is to wait for its reader; the caller holds the lock. */
  abstract boolean isFull();

  /**
   * Nothing more comes. Called before {@link #ended} completes.
   *
   * @param why makes what a reader is told where something kept its output from coming to its end,
   *     on the reader's thread, where it may wait; null when nothing did
   */
  abstract void onEnd(@Nullable Supplier<GuestIOException> why);

  @Override
  public final void onCreated(long pid) {
    created.complete(pid);
  }

  @Override
  public final void onStarted(long pid) {
    if (source != null) {
      source.onStarted();
    }
    started.complete(pid);
  }

  private void onStdinFailure(ProcessException failure) {
    fail(failure);
    process.cancel();
  }

  @Override
  public final boolean onOutput(boolean error, ByteBuffer bytes) {
    boolean counted = gate.isError(error);
    if (gate.cut(counted, bytes)) {
      kill();
    }
    synchronized (this) {
      if (bytes.hasRemaining()) {
        take(counted, bytes);
      }
      paused = mustWait();
      return !paused;
    }
  }

  @Override
  public final void onWritable() {
    if (source != null) {
      source.onWritable();
    }
    stdin.onWritable();
  }

  @Override
  public final void onExit(ExitStatus status) {
    end(null);
    complete(status);
    if (!started.isDone()) {
      started.completeExceptionally(
          new ProcessException(
              ProcessException.Reason.NOT_STARTED,
              "The process ended before it was released: " + status,
              null,
              null));
    }
  }

  @Override
  public void onStartFailed(StartFailure reason, String message) {
    fail(GuestCalls.notStarted(reason, message));
  }

  @Override
  public final void onFailure(AgentException failure) {
    if (killed && failure.kind() == AgentException.Kind.CANCELLED) {
      // The guest killed it, or will when it hears of it; that is all that is known.
      end(GuestCalls.KILLED);
      complete(ExitStatus.of(Signal.KILL));
      created.completeExceptionally(failure);
      started.completeExceptionally(failure);
    } else {
      fail(failure);
    }
  }

  private void complete(ExitStatus status) {
    ended.complete(gate.truncated() ? status.toBuilder().outputTruncated(true).build() : status);
  }

  private void fail(Exception failure) {
    end(() -> calls.broken(failure));
    // First: who waits for its start may ask whether it lives.
    ended.completeExceptionally(failure);
    created.completeExceptionally(failure);
    started.completeExceptionally(failure);
  }

  private void end(@Nullable Supplier<GuestIOException> why) {
    onEnd(why);
    stdin.end(why);
    if (source != null) {
      source.end();
    }
  }
}
