// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static java.util.Objects.requireNonNull;

import com.google.common.util.concurrent.Uninterruptibles;
import dev.nacelle.GuestIOException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.ProcessException;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.Stage;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.ProcessListener;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.VirtualMachine;
import java.io.IOException;
import java.net.SocketException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Waits for what a sandbox's guest is asked, and says to users what came of it. */
final class GuestCalls {
  /** Why a sandbox ended whose guest did not say more. */
  static final SandboxExit LOST =
      SandboxExit.of(
          SandboxExit.Reason.CONNECTION_LOST, "lost the connection with its guest agent");

  /** What streams of a process that the host has killed are told. */
  static final Supplier<GuestIOException> KILLED =
      () -> new GuestIOException("the process was killed");

  /** How long the reason of a sandbox's end may take to be known after the end of a call. */
  private static final Duration LAST_WORDS = Duration.ofSeconds(4);

  /** How much later than another connection's end that of the agent's may be noticed. */
  private static final Duration MEANWHILE = Duration.ofSeconds(1);

  private final String sandbox;
  private final CompletableFuture<SandboxExit> exit;
  private final CompletableFuture<?> disconnected;
  private final VirtualMachine vm;
  private final Workers workers;

  /**
   * @param sandbox its name, for messages
   * @param exit completes with why it ended, before anything is taken down
   * @param disconnected completes when the agent's connection has ended
   */
  GuestCalls(
      String sandbox,
      CompletableFuture<SandboxExit> exit,
      CompletableFuture<?> disconnected,
      VirtualMachine vm,
      Workers workers) {
    this.sandbox = sandbox;
    this.exit = exit;
    this.disconnected = disconnected;
    this.vm = vm;
    this.workers = workers;
  }

  /**
   * Returns while the sandbox is open.
   *
   * @throws SandboxEndedException when it is not
   */
  void requireOpen() {
    if (exit.isDone()) {
      throw endedException(null);
    }
  }

  /** Waits for it, but not for ever: the watch completes it soon after the connection's end. */
  private SandboxExit exit() {
    try {
      return requireNonNull(Uninterruptibles.getUninterruptibly(exit, LAST_WORDS));
    } catch (TimeoutException | ExecutionException e) {
      return LOST;
    }
  }

  /**
   * Whether a connection broke because the sandbox ends, which may be told a moment later. Where
   * the host cannot tell, the agent's connection does, which ends with all others; it is given a
   * second for that.
   */
  boolean endedBy(IOException failure) {
    if (failure instanceof GuestLostException || exit.isDone() || vm.exit().isDone()) {
      return true;
    }
    if (!(failure instanceof SocketException)) {
      return false;
    }
    try {
      Uninterruptibles.getUninterruptibly(disconnected, MEANWHILE);
    } catch (TimeoutException e) {
      return exit.isDone() || vm.exit().isDone();
    } catch (ExecutionException e) {
      // As good as its end.
    }
    return true;
  }

  /** Why it has ended, or is about to by what broke; waits for that to be known. */
  SandboxEndedException endedException(@Nullable Throwable cause) {
    SandboxExit how = exit();
    boolean guestIsToBlame =
        switch (how.reason()) {
          case GUEST_ENDED, GUEST_CRASHED, CONNECTION_LOST -> true;
          default -> false;
        };
    return new SandboxEndedException(
        "The sandbox "
            + sandbox
            + " "
            + how.detail()
            + (guestIsToBlame ? Failures.asMessagePart(vm.console().tail()) : ""),
        switch (how.reason()) {
          case LIFETIME -> "Start another, or give it a longer maxLifetime.";
          case IDLE -> "Start another, or give it a longer idleTimeout.";
          default -> null;
        },
        how,
        cause);
  }

  /** Waits; throws what users are told. */
  <T extends @Nullable Object> T await(CompletableFuture<T> future) {
    try {
      return future.get();
    } catch (InterruptedException e) {
      throw interrupted(e);
    } catch (ExecutionException e) {
      throw translate(e);
    }
  }

  /** The same outcome as users are told it, on a thread where they may block. */
  <T> CompletableFuture<T> translated(CompletableFuture<T> future) {
    return future.handleAsync(
        (value, failure) -> {
          if (failure != null) {
            throw new CompletionException(translate(failure));
          }
          return value;
        },
        workers::executePatiently);
  }

  static InterruptedOperationException interrupted(InterruptedException e) {
    Thread.currentThread().interrupt();
    return new InterruptedOperationException(
        Stage.RUN, "interrupted while waiting for the sandbox's guest", e);
  }

  /** What a stream is told of what {@link #translate} has words for; may wait as that does. */
  GuestIOException broken(Throwable failure) {
    RuntimeException told = translate(failure);
    return new GuestIOException(String.valueOf(told.getMessage()), told);
  }

  /** Whether a call failed for the guest's end: whatever goes wrong with one that is no more. */
  boolean isOver(AgentException failure) {
    return failure.kind().isBroken() && (exit.isDone() || vm.exit().isDone());
  }

  /** What users are told of it. May wait for the machine to tell why it ended. */
  RuntimeException translate(Throwable failure) {
    Throwable cause = Failures.cause(failure);
    if (cause instanceof AgentException e) {
      if (isOver(e)) {
        return endedException(e);
      }
      return switch (e.kind()) {
        case DISCONNECTED, WORKLOAD_ENDED -> endedException(e);
        case TIMED_OUT ->
            new ProcessException(
                ProcessException.Reason.TIMED_OUT,
                "The process did not end in time, and the guest did not kill it; the host gave it"
                    + " up",
                "Close the sandbox, for its guest is not to be relied on.",
                e);
        case NO_ANSWER ->
            new ProcessException(
                ProcessException.Reason.GUEST_MISBEHAVED,
                "The guest did not answer in time: "
                    + e.getMessage()
                    + Failures.asMessagePart(vm.console().tail()),
                "Where it stays silent for half a minute, the sandbox ends by itself.",
                e);
        case START_TIMED_OUT ->
            new ProcessException(
                ProcessException.Reason.TIMED_OUT,
                "The process did not start in time, and the guest did not say why; the host gave it"
                    + " up",
                "Close the sandbox, for its guest is not to be relied on.",
                e);
        case MISBEHAVED, CANCELLED ->
            new ProcessException(
                ProcessException.Reason.GUEST_MISBEHAVED,
                "The guest broke off a call: " + e.getMessage(),
                "Close the sandbox, for its guest is not to be relied on.",
                e);
        case REFUSED, NOT_FOUND ->
            new ProcessException(
                ProcessException.Reason.NOT_STARTED,
                "The guest refused: " + e.getMessage(),
                null,
                e);
      };
    }
    if (cause instanceof ProcessException e) {
      // Made on another thread: this one's stack is what the caller wants to see.
      return new ProcessException(
          e.reason(),
          String.valueOf(e.getMessage()),
          null,
          e.reason() == ProcessException.Reason.STDIN_FAILED ? e.getCause() : e);
    }
    return new IllegalStateException("unexpected failure in the sandbox " + sandbox, cause);
  }

  static ProcessException notStarted(ProcessListener.StartFailure reason, String message) {
    ProcessException.Reason mapped =
        switch (reason) {
          case COMMAND_NOT_FOUND -> ProcessException.Reason.COMMAND_NOT_FOUND;
          case COMMAND_NOT_EXECUTABLE -> ProcessException.Reason.COMMAND_NOT_EXECUTABLE;
          case UNKNOWN_USER -> ProcessException.Reason.UNKNOWN_USER;
          case BAD_WORKING_DIRECTORY -> ProcessException.Reason.BAD_WORKING_DIRECTORY;
          case TIMED_OUT, OTHER -> ProcessException.Reason.NOT_STARTED;
        };
    return new ProcessException(mapped, "The process could not be started: " + message, null, null);
  }

  static CompletableFuture<@Nullable Void> unlessEnded(CompletableFuture<Void> call) {
    return call.handle(
        (done, failure) -> {
          if (failure == null) {
            return null;
          }
          Throwable cause = Failures.cause(failure);
          if (cause instanceof AgentException e && e.kind() == AgentException.Kind.NOT_FOUND) {
            return null;
          }
          throw new CompletionException(cause);
        });
  }
}
