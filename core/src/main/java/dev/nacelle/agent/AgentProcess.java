// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.DataSize;
import dev.nacelle.ExitStatus;
import dev.nacelle.Signal;
import dev.nacelle.agent.AgentException.Kind;
import dev.nacelle.agent.ProcessListener.StartFailure;
import dev.nacelle.proto.agent.v1.Exited;
import dev.nacelle.proto.agent.v1.Release;
import dev.nacelle.proto.agent.v1.RunProcessRequest;
import dev.nacelle.proto.agent.v1.RunProcessResponse;
import dev.nacelle.proto.agent.v1.StartFailed;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import io.netty.channel.EventLoop;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.Future;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * One RunProcess call. Messages are asked for one at a time, so that what the host holds of a
 * process's output is what its listener took, one message, and HTTP/2's window.
 *
 * <p>Safe for use from several threads.
 */
public final class AgentProcess {
  /**
   * What one message of stdin carries, in bytes: as much as a pipe holds, and half of what the
   * agent grants HTTP/2 a window for.
   */
  public static final int STDIN_CHUNK = 64 * 1024;

  /** So many bytes of stdin wait for the guest at least, or more is asked for. */
  static final int STDIN_LOW = 2 * STDIN_CHUNK;

  /**
   * Bytes of stdin that may be written at once when more is asked for, so that the thread that
   * writes and the event loop do not take turns for each message. At most this and {@link
   * #STDIN_LOW} wait for the guest.
   */
  static final int STDIN_BURST = 3 * STDIN_CHUNK;

  /**
   * The least that a message of stdin is made to take, in bytes: the agent pays for each that
   * waits, whatever is in it, and HTTP/2's window, and what waits here, are counted in bytes.
   */
  static final int STDIN_LEAST = 1024;

  private static final ByteString PADDING = ByteString.copyFrom(new byte[STDIN_LEAST]);

  /** What the host grants the guest beyond the time that the guest has for the start. */
  private static final Duration START_MARGIN = Duration.ofSeconds(5);

  /** How long a call whose process has ended may take to end. */
  private static final Duration FAREWELL = Duration.ofSeconds(5);

  private enum State {
    STARTING,
    HELD,
    RUNNING,
    ENDED
  }

  private final ClientCall<RunProcessRequest, RunProcessResponse> call;
  private final ProcessRequest request;
  private final ProcessListener listener;
  private final @Nullable Duration deadline;
  private final @Nullable AgentException refusal;
  private final Function<Status, AgentException> failures;
  private final EventLoop loop;
  private final GuestTimers timers;

  /** Confined to the call's listener, whose calls gRPC makes one after another. */
  private State state = State.STARTING;

  /** Whether it was held; as {@link #state}. */
  private boolean created;

  /** {@link ClientCall}'s methods, other than request(), want one caller at a time. */
  private final Object sending = new Object();

  /** Runs out while there is something to wait for that the guest owes; as {@link #state}. */
  private @Nullable Future<?> timer;

  private boolean startTimedOut;

  /** Runs out at the deadline; as {@link #state}. */
  private @Nullable Future<?> lastTimer;

  private boolean timedOut;

  /** Bytes that may still be written of those that were asked for. */
  private int stdinRoom; // guarded by sending

  private boolean inputEnded;
  private boolean cancelled;
  private volatile long id;

  /**
   * @param deadline from its start on, after which it is given up; null for never
   * @param refusal why it is not even asked for; null when it is
   * @param failures what a call's status says of it
   * @param loop where the call's listener is called
   * @param timers of that loop
   */
  AgentProcess(
      ClientCall<RunProcessRequest, RunProcessResponse> call,
      ProcessRequest request,
      ProcessListener listener,
      @Nullable Duration deadline,
      @Nullable AgentException refusal,
      Function<Status, AgentException> failures,
      EventLoop loop,
      GuestTimers timers) {
    this.loop = loop;
    this.timers = timers;
    this.deadline = deadline;
    this.call = call;
    this.request = request;
    this.listener = listener;
    this.refusal = refusal;
    this.failures = failures;
  }

  /**
   * Has the agent start it; once, and before everything else. The listener may hear of a failure
   * before this returns, on this thread.
   */
  public void start() {
    // Without the lock, which a listener might want from another of its own.
    call.start(new Responses(), new Metadata());
    if (refusal != null) {
      cancel();
      return;
    }
    call.sendMessage(RunProcessRequest.newBuilder().setStart(request.toProto()).build());
    if (!request.stdin() && !request.hold()) {
      closeStdin();
    }
    call.request(1);
    loop.execute(this::awaitStart);
  }

  /**
   * Lets it execute its command, once it is held: what comes is as after the start of another. Does
   * nothing otherwise.
   */
  public void release() {
    loop.execute(
        () -> {
          if (state != State.HELD) {
            return;
          }
          state = State.STARTING;
          awaitStart();
          synchronized (sending) {
            if (inputEnded) {
              return;
            }
            call.sendMessage(
                RunProcessRequest.newBuilder().setRelease(Release.getDefaultInstance()).build());
          }
          if (!request.stdin()) {
            closeStdin();
          }
        });
  }

  private void awaitStart() {
    // The time of one that is held begins when it is let go.
    if (state != State.ENDED && deadline != null && request.hold() == created) {
      Runnable giveUp =
          () -> {
            timedOut = true;
            cancel();
          };
      lastTimer = timers.schedule(giveUp, deadline);
    }
    if (state == State.STARTING && request.startTimeoutNanos() > 0) {
      Runnable giveUp =
          () -> {
            startTimedOut = true;
            cancel();
          };
      await(giveUp, Duration.ofNanos(request.startTimeoutNanos()).plus(START_MARGIN));
    }
  }

  private void await(Runnable giveUp, Duration limit) {
    stopTimer();
    timer = timers.schedule(giveUp, limit);
  }

  private void stopTimer() {
    Future<?> running = timer;
    timer = null;
    if (running != null) {
      running.cancel(false);
    }
  }

  /** The agent's name for it; 0 before {@link ProcessListener#onStarted} or onCreated. */
  public long id() {
    return id;
  }

  /** Asks for more output, after {@link ProcessListener#onOutput} returned false. */
  public void resume() {
    call.request(1);
  }

  /**
   * Whether so much of what was written so far has left that the next chunk does not pile up in
   * memory.
   */
  public boolean isWritable() {
    boolean ready = call.isReady();
    synchronized (sending) {
      if (ready) {
        stdinRoom = STDIN_BURST;
      }
      return stdinRoom > 0;
    }
  }

  /**
   * Sends bytes to stdin, whether it is writable or not; after {@link #start()}.
   *
   * @param bytes at most {@value #STDIN_CHUNK}; all are taken
   * @return false when stdin has ended, and the bytes are lost
   */
  public boolean write(ByteBuffer bytes) {
    if (bytes.remaining() > STDIN_CHUNK) {
      throw new IllegalArgumentException(
          "at most " + STDIN_CHUNK + " bytes of stdin at a time, not " + bytes.remaining());
    }
    int taken = Math.max(bytes.remaining(), STDIN_LEAST);
    RunProcessRequest.Builder request = RunProcessRequest.newBuilder();
    if (bytes.remaining() < taken) {
      request.setPadding(PADDING.substring(bytes.remaining()));
    }
    RunProcessRequest message = request.setStdin(ByteString.copyFrom(bytes)).build();
    synchronized (sending) {
      if (inputEnded) {
        return false;
      }
      stdinRoom -= taken;
      call.sendMessage(message);
      return true;
    }
  }

  /** Ends stdin, which is all that the host has to say. Idempotent. */
  public void closeStdin() {
    synchronized (sending) {
      if (!inputEnded) {
        inputEnded = true;
        call.halfClose();
      }
    }
  }

  /**
   * Gives the process up: the agent kills it with everything in its cgroup, and the listener hears
   * of a failure, unless it heard of the end before. Idempotent.
   */
  public void cancel() {
    synchronized (sending) {
      inputEnded = true;
      if (cancelled) {
        return;
      }
      cancelled = true;
    }
    // Nothing is sent from now on, so nothing else uses the call.
    call.cancel("the host gave the process up", null);
  }

  /** Gives the process up when it has not ended after that long. */
  void cancelAfter(Duration limit) {
    loop.execute(
        () -> {
          if (state != State.ENDED) {
            await(this::cancel, limit);
          }
        });
  }

  private void onResponse(RunProcessResponse response) throws AgentException {
    switch (response.getResponseCase()) {
      case CREATED -> {
        expect(State.STARTING, response);
        if (!request.hold() || created) {
          throw misbehaved("holds a process that was not to be held");
        }
        state = State.HELD;
        created = true;
        stopTimer();
        id = response.getCreated().getProcessId();
        listener.onCreated(Integer.toUnsignedLong(response.getCreated().getPid()));
        resume();
      }
      case STARTED -> {
        expect(State.STARTING, response);
        if (request.hold() != created) {
          throw misbehaved("did not hold a process");
        }
        state = State.RUNNING;
        stopTimer();
        id = response.getStarted().getProcessId();
        listener.onStarted(Integer.toUnsignedLong(response.getStarted().getPid()));
        resume();
      }
      case START_FAILED -> {
        expect(State.STARTING, response);
        StartFailed failed = response.getStartFailed();
        state = State.ENDED;
        listener.onStartFailed(reason(failed), GuestText.clean(failed.getMessage()));
        awaitTrailers();
      }
      case STDOUT -> onOutput(false, response.getStdout(), response);
      case STDERR -> onOutput(true, response.getStderr(), response);
      case EXITED -> {
        // One that is held may end before its release, or before the guest hears of that.
        if (!created || state == State.ENDED) {
          expect(State.RUNNING, response);
        }
        ExitStatus status = status(response.getExited());
        state = State.ENDED;
        listener.onExit(status);
        awaitTrailers();
      }
      case RESPONSE_NOT_SET -> throw misbehaved("sent a message of an unknown kind");
    }
  }

  private void onOutput(boolean error, ByteString bytes, RunProcessResponse response)
      throws AgentException {
    expect(State.RUNNING, response);
    if (bytes.isEmpty()) {
      throw misbehaved("sent output of no bytes");
    }
    if (listener.onOutput(error, bytes.asReadOnlyByteBuffer())) {
      resume();
    }
  }

  private void expect(State expected, RunProcessResponse response) throws AgentException {
    if (state != expected) {
      throw misbehaved("sent " + response.getResponseCase() + " when " + state);
    }
  }

  private static AgentException misbehaved(String how) {
    return new AgentException(Kind.MISBEHAVED, "the guest agent " + how);
  }

  /** After the last message. */
  private void awaitTrailers() {
    closeStdin();
    call.request(1);
    await(this::cancel, FAREWELL);
  }

  private static StartFailure reason(StartFailed failed) {
    return switch (failed.getReason()) {
      case COMMAND_NOT_FOUND -> StartFailure.COMMAND_NOT_FOUND;
      case COMMAND_NOT_EXECUTABLE -> StartFailure.COMMAND_NOT_EXECUTABLE;
      case UNKNOWN_USER -> StartFailure.UNKNOWN_USER;
      case BAD_WORKING_DIRECTORY -> StartFailure.BAD_WORKING_DIRECTORY;
      case TIMED_OUT -> StartFailure.TIMED_OUT;
      case OTHER, REASON_UNSPECIFIED, UNRECOGNIZED -> StartFailure.OTHER;
    };
  }

  private static ExitStatus status(Exited exited) throws AgentException {
    int code;
    Signal signal = null;
    if (exited.getStatusCase() == Exited.StatusCase.SIGNAL) {
      int number = exited.getSignal();
      if (number < 1 || number > 64) {
        throw misbehaved("told of a process ended by signal " + Integer.toUnsignedLong(number));
      }
      signal = new Signal(number);
      code = 128 + number;
    } else {
      // Proto3 does not tell a zero that was sent in a oneof of an unknown future field from none.
      code = exited.getExitCode();
      if (code < 0 || code > 255 || exited.getStatusCase() != Exited.StatusCase.EXIT_CODE) {
        throw misbehaved("told of a process ended by neither an exit code nor a signal");
      }
    }
    return ExitStatus.builder(code)
        .signal(signal)
        .timedOut(exited.getTimedOut())
        .oomKilled(exited.getOomKilled())
        .userCpu(Duration.ofNanos(AgentInfo.notNegative(exited.getUserCpuNanos())))
        .systemCpu(Duration.ofNanos(AgentInfo.notNegative(exited.getSystemCpuNanos())))
        .peakMemory(DataSize.bytes(AgentInfo.notNegative(exited.getPeakMemoryBytes())))
        .outputsAbandoned(exited.getOutputsAbandoned())
        .oomKilledElsewhere(exited.getOomKilledElsewhere())
        .treePeakMemory(
            exited.getTreePeakMemoryBytes() == 0
                ? null
                : DataSize.bytes(AgentInfo.notNegative(exited.getTreePeakMemoryBytes())))
        .build();
  }

  private final class Responses extends ClientCall.Listener<RunProcessResponse> {
    private @Nullable AgentException misbehaviour;

    @Override
    public void onMessage(RunProcessResponse response) {
      if (misbehaviour != null) {
        return;
      }
      try {
        onResponse(response);
      } catch (AgentException e) {
        misbehaviour = e;
        cancel();
      }
    }

    @Override
    public void onReady() {
      if (state == State.RUNNING) {
        listener.onWritable();
      }
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      stopTimer();
      Future<?> running = lastTimer;
      if (running != null) {
        running.cancel(false);
      }
      if (state == State.ENDED) {
        return;
      }
      state = State.ENDED;
      synchronized (sending) {
        inputEnded = true;
      }
      if (refusal != null) {
        listener.onFailure(refusal);
      } else if (misbehaviour != null) {
        listener.onFailure(misbehaviour);
      } else if (startTimedOut) {
        listener.onFailure(
            new AgentException(
                Kind.START_TIMED_OUT,
                "the guest agent neither started the process in time nor said why not"));
      } else if (timedOut) {
        listener.onFailure(
            new AgentException(Kind.TIMED_OUT, "the guest agent did not end the process in time"));
      } else if (status.isOk()) {
        listener.onFailure(misbehaved("ended a process's stream without saying how it ended"));
      } else {
        listener.onFailure(failures.apply(status));
      }
    }
  }
}
