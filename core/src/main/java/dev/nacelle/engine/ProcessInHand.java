// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.TerminalSize;
import dev.nacelle.agent.AgentClient;
import java.io.InputStream;
import java.io.OutputStream;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A process in the hands of one who reads its outputs. */
abstract class ProcessInHand implements GuestProcess {
  private final GuestCalls calls;
  private final AgentClient client;
  private final ProcessCall call;
  private final OutputPipes outputs;
  private final Signal stopSignal;

  /**
   * @param outputs what its holder reads
   * @param stopSignal what {@link #stop} sends
   */
  ProcessInHand(
      GuestCalls calls,
      AgentClient client,
      ProcessCall call,
      OutputPipes outputs,
      Signal stopSignal) {
    this.calls = calls;
    this.client = client;
    this.call = call;
    this.outputs = outputs;
    this.stopSignal = stopSignal;
  }

  final ProcessCall call() {
    return call;
  }

  final void closeOutputs() {
    outputs.close();
  }

  private CompletableFuture<ExitStatus> ended() {
    return call.ended();
  }

  @Override
  public final OutputStream stdin() {
    return call.stdin();
  }

  @Override
  public final InputStream stdout() {
    return outputs.get(false);
  }

  @Override
  public final InputStream stderr() {
    return outputs.get(true);
  }

  @Override
  public final long pid() {
    return call.started().join();
  }

  @Override
  public final CompletableFuture<ExitStatus> onExit() {
    return calls.translated(ended());
  }

  @Override
  public final ExitStatus waitFor() {
    return calls.await(ended());
  }

  @Override
  public final Optional<ExitStatus> waitFor(Duration timeout) {
    try {
      ended().get(nanos(timeout), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      return Optional.empty();
    } catch (ExecutionException e) {
      // Told below.
    } catch (InterruptedException e) {
      throw GuestCalls.interrupted(e);
    }
    return Optional.of(calls.await(ended()));
  }

  /** As many as fit. */
  private static long nanos(Duration duration) {
    return Math.max(0, TimeUnit.NANOSECONDS.convert(duration));
  }

  @Override
  public final boolean isAlive() {
    return !ended().isDone();
  }

  @Override
  public final void signal(Signal signal, SignalScope scope) {
    if (scope == SignalScope.TREE || !isOver()) {
      calls.await(GuestCalls.unlessEnded(client.signal(call.id(), signal, scope)));
    }
  }

  /** Whether there is nobody to tell anything, while the sandbox is open. */
  private boolean isOver() {
    if (!ended().isDone()) {
      return false;
    }
    calls.requireOpen();
    return true;
  }

  @Override
  public final ExitStatus stop(Duration grace) {
    if (nanos(grace) > 0 && !ended().isDone()) {
      awaitStop(grace);
    }
    if (!ended().isDone()) {
      call.kill();
    }
    return waitFor();
  }

  /** Returns early when the guest does not take the signal. */
  private void awaitStop(Duration grace) {
    CompletableFuture<Void> over = new CompletableFuture<>();
    Future<?> timer = client.timers().schedule(() -> over.complete(null), grace);
    CompletableFuture<ExitStatus> stopped =
        GuestCalls.unlessEnded(client.signal(call.id(), stopSignal, SignalScope.PROCESS))
            .thenCompose(done -> ended());
    try {
      CompletableFuture.anyOf(ended(), stopped, over).get();
    } catch (ExecutionException e) {
      // It is killed, or told below.
    } catch (InterruptedException e) {
      throw GuestCalls.interrupted(e);
    } finally {
      timer.cancel(false);
    }
  }

  @Override
  public final void resize(TerminalSize size) {
    if (!call.hasTerminal()) {
      throw new IllegalStateException("the process has no terminal");
    }
    if (!isOver()) {
      calls.await(GuestCalls.unlessEnded(client.resize(call.id(), size)));
    }
  }
}
