// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.GuestProcessInfo;
import dev.nacelle.GuestStatistics;
import dev.nacelle.SandboxEvent;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.TerminalSize;
import dev.nacelle.agent.AgentException.Kind;
import dev.nacelle.agent.ProcessRequest.Outputs;
import dev.nacelle.proto.agent.v1.AgentGrpc;
import dev.nacelle.proto.agent.v1.GetInfoRequest;
import dev.nacelle.proto.agent.v1.GetStatisticsRequest;
import dev.nacelle.proto.agent.v1.ListProcessesRequest;
import dev.nacelle.proto.agent.v1.PrepareResponse;
import dev.nacelle.proto.agent.v1.ResizeTerminalRequest;
import dev.nacelle.proto.agent.v1.SetClockRequest;
import dev.nacelle.proto.agent.v1.ShutdownRequest;
import dev.nacelle.proto.agent.v1.SignalProcessRequest;
import dev.nacelle.proto.agent.v1.WatchEventsRequest;
import dev.nacelle.proto.agent.v1.WatchStatisticsRequest;
import dev.nacelle.spi.GuestConnection;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.EventLoop;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Talks to one guest's agent. The connection may be dialled later than this is made: calls wait for
 * it, which lets gRPC get ready while the guest boots.
 *
 * <p>Futures complete on an event loop that many guests share: what depends on them must not block.
 * They fail with {@link AgentException}; cancelling one does not take the request back. Safe for
 * use from several threads.
 */
public final class AgentClient implements AutoCloseable {
  /** Port of the host (CID 2) that agents dial. */
  public static final int PORT = 1024;

  /**
   * Largest message that an agent takes (agent.proto): a process's arguments and variables, which
   * have 2 MiB, and what is around them.
   */
  static final int MAX_REQUEST_BYTES = (2 << 20) + (64 << 10);

  /**
   * Largest message that is accepted: an agent sends at most 64 KiB of output and a little around
   * it.
   */
  private static final int MAX_MESSAGE_BYTES = 256 * 1024;

  /**
   * HTTP/2 flow control window per stream, in bytes: what a process may have on its way to the
   * host. It is a number of the largest messages: of one more a part would leave alone, and cost as
   * much as a whole one.
   */
  private static final int WINDOW_BYTES = 4 * FrameSize.MAXIMUM;

  private static final int MAX_HEADER_BYTES = 16 * 1024;
  private static final int MAX_STEPS = 64;

  /** For what an agent answers at once, whatever its processes do. */
  private static final Duration ANSWER_LIMIT = Duration.ofSeconds(5);

  /** How long a process that was killed may take to end. */
  private static final Duration DEATH = Duration.ofSeconds(15);

  /** What {@link #processes} returns at most. */
  private static final int MAX_LISTED = 4096;

  private final ManagedChannel channel;
  private final EventLoop loop;
  private final Duration silence;
  private final Duration signOfLife;
  private final GuestTimers timers;
  private final CompletableFuture<Void> disconnected = new CompletableFuture<>();
  private final CompletableFuture<String> workloadEnded = new CompletableFuture<>();

  private volatile @Nullable GuestChannel guest;
  private volatile boolean closed;
  private volatile @Nullable Liveness liveness;
  private volatile Set<String> features = Set.of();

  /** A step of {@link #prepare}, as the agent timed it. */
  public record Step(String name, long nanos) {}

  /**
   * @param dialled completes when the guest has connected to {@link #PORT}; this client owns the
   *     connection
   * @param loop runs everything
   * @param silence after which the guest is asked for a sign of life
   * @param signOfLife how long it has for that
   */
  AgentClient(
      CompletableFuture<GuestConnection> dialled,
      EventLoop loop,
      Duration silence,
      Duration signOfLife) {
    this.loop = loop;
    this.silence = silence;
    this.signOfLife = signOfLife;
    timers = new GuestTimers(loop);
    channel =
        NettyChannelBuilder.forAddress(new GuestAddress(dialled))
            .overrideAuthority("agent")
            .eventLoopGroup(loop)
            .channelFactory(this::newChannel)
            .directExecutor()
            .offloadExecutor(loop)
            .usePlaintext()
            .flowControlWindow(WINDOW_BYTES)
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .maxInboundMetadataSize(MAX_HEADER_BYTES)
            .proxyDetector(address -> null)
            .disableRetry()
            .disableServiceConfigLookUp()
            .idleTimeout(Long.MAX_VALUE, TimeUnit.DAYS)
            .maxTraceEvents(0)
            .build();
  }

  private GuestChannel newChannel() {
    GuestChannel made = new GuestChannel();
    // Before what gRPC adds.
    made.pipeline().addLast(new FrameLimiter(System::nanoTime), new FrameSize());
    made.closeFuture().addListener(closed -> disconnected.complete(null));
    guest = made;
    if (closed) {
      breakOff(made);
    }
    return made;
  }

  /** From now on the connection is ended when the guest is silent for too long. */
  public void watchLiveness() {
    watchLiveness(silence, signOfLife);
  }

  /** With limits of one's own. */
  void watchLiveness(Duration silence, Duration signOfLife) {
    Liveness watch =
        new Liveness(timers, silence, this::bytesRead, () -> ask(signOfLife), this::close);
    liveness = watch;
    watch.start();
    var unused = disconnected.thenRun(watch::stop);
  }

  /**
   * The guest's machine is about to stand still: nothing is expected of it until {@link #resume}.
   */
  public void pause() {
    timers.pause();
  }

  /** The guest's machine runs again: it has what was left of its time, for whatever it owes. */
  public void resume() {
    timers.resume();
  }

  /** Times what is expected of the guest. */
  public GuestTimers timers() {
    return timers;
  }

  /** Whether the connection was ended because the guest was silent. */
  public boolean wasSilent() {
    Liveness watch = liveness;
    return watch != null && watch.foundSilent();
  }

  private long bytesRead() {
    GuestChannel made = guest;
    return made == null ? 0 : made.bytesRead();
  }

  private CompletableFuture<?> ask(Duration limit) {
    return unary(AgentGrpc.getGetInfoMethod(), GetInfoRequest.getDefaultInstance(), limit);
  }

  /** Completes when the connection has ended, for whatever reason; never exceptionally. */
  public CompletableFuture<Void> disconnected() {
    return disconnected.copy();
  }

  /**
   * Completes when the agent says that nothing can be run any more, with why; never exceptionally.
   * It ends the connection then, or should.
   */
  public CompletableFuture<String> workloadEnded() {
    return workloadEnded.copy();
  }

  /** What the agent and its kernel are. */
  public CompletableFuture<AgentInfo> getInfo() {
    return unary(AgentGrpc.getGetInfoMethod(), GetInfoRequest.getDefaultInstance(), null)
        .thenApply(
            response -> {
              AgentInfo info = AgentInfo.of(response);
              features = info.features();
              return info;
            });
  }

  /**
   * Builds the workload's root. Fails with {@link Kind#REFUSED} where the agent is too old for what
   * the workload is to have.
   *
   * @param realtimeNanos the wall clock, in nanoseconds since the Unix epoch
   * @param entropy for the guest's random numbers; at most 512 bytes
   * @return the steps it took
   */
  public CompletableFuture<List<Step>> prepare(
      Workload workload, long realtimeNanos, byte[] entropy) {
    for (String feature : workload.features()) {
      if (!features.contains(feature)) {
        return lacks(feature);
      }
    }
    return unary(AgentGrpc.getPrepareMethod(), workload.toRequest(realtimeNanos, entropy), null)
        .thenApply(AgentClient::steps);
  }

  private static List<Step> steps(PrepareResponse response) {
    return response.getStepsList().stream()
        .limit(MAX_STEPS)
        .map(s -> new Step(GuestText.clean(s.getName()), AgentInfo.notNegative(s.getNanos())))
        .toList();
  }

  /**
   * A process that is yet to be {@linkplain AgentProcess#start() started}. It fails with {@link
   * Kind#REFUSED} where the agent is too old for what it is to have.
   *
   * @param deadline from its start on, after which the host gives up, whatever the guest does; null
   *     for never
   */
  public AgentProcess process(
      ProcessRequest request, ProcessListener listener, @Nullable Duration deadline) {
    return new AgentProcess(
        newCall(
            AgentGrpc.getRunProcessMethod(),
            CallOptions.DEFAULT.withOnReadyThreshold(AgentProcess.STDIN_LOW)),
        request,
        listener,
        deadline,
        refusal(request),
        this::failure,
        loop,
        timers);
  }

  /**
   * Does something with files. What the agent is too old for, the call fails with {@link
   * Kind#REFUSED}.
   *
   * @param timeout that the guest has for it, or null
   * @param deadline from now on, after which the host gives up, whatever the guest does; or null
   */
  public FileCall files(FileOrder order, @Nullable Duration timeout, @Nullable Duration deadline) {
    var call = newCall(AgentGrpc.getUseFilesMethod());
    return features.contains(order.feature())
        ? new FileCall(call, order.toProto(timeout), this::failure, timers, deadline)
        : new FileCall(call, lacking(order.feature()), timers);
  }

  private @Nullable AgentException refusal(ProcessRequest request) {
    Outputs outputs = request.outputs();
    List<String> needed = new ArrayList<>();
    if (request.pidOne()) {
      needed.add(AgentInfo.PID_ONE);
    }
    if (outputs.merged()) {
      needed.add(AgentInfo.MERGE_STDERR);
    }
    if (request.confinement() != null) {
      needed.add(AgentInfo.SECURITY);
    }
    if (!request.executable().isEmpty()) {
      needed.add(AgentInfo.EXECUTABLE);
    }
    if (request.hold()) {
      needed.add(AgentInfo.HOLD);
    }
    if (outputs.discardStdout() || outputs.discardStderr()) {
      needed.add(AgentInfo.DISCARD_OUTPUT);
    }
    needed.removeAll(features);
    return needed.isEmpty() ? null : lacking(needed.get(0));
  }

  /**
   * Sends a signal to a process or to what it started; has five seconds for it. Fails with {@link
   * Kind#REFUSED} for a tree where the agent is too old to know of those.
   */
  public CompletableFuture<Void> signal(long processId, Signal signal, SignalScope scope) {
    SignalProcessRequest.Builder request =
        SignalProcessRequest.newBuilder().setProcessId(processId).setSignal(signal.number());
    switch (scope) {
      case PROCESS -> {}
      case GROUP -> request.setProcessGroup(true);
      case TREE -> {
        if (!features.contains(AgentInfo.SIGNAL_SCOPE)) {
          return lacks(AgentInfo.SIGNAL_SCOPE);
        }
        request.setScope(SignalProcessRequest.Scope.TREE);
      }
    }
    return unary(AgentGrpc.getSignalProcessMethod(), request.build(), ANSWER_LIMIT)
        .thenApply(response -> null);
  }

  /**
   * Sets the guest's wall clock; has five seconds for it. Of no effect where the agent is too old.
   *
   * @param realtimeNanos in nanoseconds since the Unix epoch
   */
  public CompletableFuture<Void> setClock(long realtimeNanos) {
    if (!features.contains(AgentInfo.SET_CLOCK)) {
      return CompletableFuture.completedFuture(null);
    }
    return unary(
            AgentGrpc.getSetClockMethod(),
            SetClockRequest.newBuilder().setRealtimeNanos(realtimeNanos).build(),
            ANSWER_LIMIT)
        .thenApply(response -> null);
  }

  private static <T> CompletableFuture<T> lacks(String feature) {
    return CompletableFuture.failedFuture(lacking(feature));
  }

  private static AgentException lacking(String feature) {
    return new AgentException(Kind.REFUSED, "the guest agent lacks the feature " + feature);
  }

  /**
   * Kills a process with everything that it started, and leaves it its call, to tell of its end.
   * Gives the process up where that is not possible, or when its end is not told.
   *
   * @return completes when the guest has done it, or will when it hears of the end of the call;
   *     never exceptionally
   */
  public CompletableFuture<Void> kill(AgentProcess process) {
    if (process.id() == 0) {
      process.cancel();
      return CompletableFuture.completedFuture(null);
    }
    return signal(process.id(), Signal.KILL, SignalScope.TREE)
        .handle(
            (done, failure) -> {
              // Without anybody to kill its end is on its way.
              if (failure == null || isNotFound(failure)) {
                process.cancelAfter(DEATH);
              } else {
                process.cancel();
              }
              return null;
            });
  }

  private static boolean isNotFound(Throwable failure) {
    Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
    return cause instanceof AgentException e && e.kind() == Kind.NOT_FOUND;
  }

  /**
   * What was started and what is left of it, by ascending identifiers; at most 4096. Each page of
   * it has five seconds. Fails with {@link Kind#REFUSED} where the agent is too old for it.
   */
  public CompletableFuture<List<GuestProcessInfo>> processes() {
    if (!features.contains(AgentInfo.PROCESS_LIST)) {
      return lacks(AgentInfo.PROCESS_LIST);
    }
    return page(new ArrayList<>());
  }

  private CompletableFuture<List<GuestProcessInfo>> page(List<GuestProcessInfo> before) {
    long last = before.isEmpty() ? 0 : before.get(before.size() - 1).id();
    return unary(
            AgentGrpc.getListProcessesMethod(),
            ListProcessesRequest.newBuilder().setAfterProcessId(last).build(),
            ANSWER_LIMIT)
        .thenCompose(
            response -> {
              try {
                ProcessListing.add(before, response, MAX_LISTED);
              } catch (AgentException e) {
                return CompletableFuture.failedFuture(e);
              }
              boolean more = response.getMore() && before.size() < MAX_LISTED;
              return more ? page(before) : CompletableFuture.completedFuture(List.copyOf(before));
            });
  }

  /**
   * What the workload uses; has five seconds for it. Fails with {@link Kind#REFUSED} where the
   * agent is too old for it.
   */
  public CompletableFuture<GuestStatistics> statistics() {
    if (!features.contains(AgentInfo.STATISTICS)) {
      return lacks(AgentInfo.STATISTICS);
    }
    return unary(
            AgentGrpc.getGetStatisticsMethod(),
            GetStatisticsRequest.getDefaultInstance(),
            ANSWER_LIMIT)
        .thenApply(StatisticsReader::read);
  }

  /**
   * The same at once, and then again and again.
   *
   * @param interval 100 ms to an hour
   * @param listener called on an event loop; each time {@link AgentStream#resume} is to ask for the
   *     next
   * @return nothing where the agent is too old for it
   */
  public Optional<AgentStream> watchStatistics(
      Duration interval, Consumer<GuestStatistics> listener) {
    if (!features.contains(AgentInfo.STATISTICS)) {
      return Optional.empty();
    }
    return Optional.of(
        AgentStream.start(
            newCall(AgentGrpc.getWatchStatisticsMethod()),
            WatchStatisticsRequest.newBuilder().setIntervalNanos(interval.toNanos()).build(),
            loop,
            StatisticsReader::read,
            listener));
  }

  /**
   * What happens in the guest from now on.
   *
   * @param id the sandbox's, for the events
   * @param name the sandbox's
   * @param listener called on an event loop; each time {@link AgentStream#resume} is to ask for the
   *     next
   * @return nothing where the agent is too old for it
   */
  public Optional<AgentStream> watchEvents(
      String id, String name, Consumer<SandboxEvent> listener) {
    if (!features.contains(AgentInfo.EVENTS)) {
      return Optional.empty();
    }
    EventReader reader = new EventReader(id, name);
    return Optional.of(
        AgentStream.start(
            newCall(AgentGrpc.getWatchEventsMethod()),
            WatchEventsRequest.getDefaultInstance(),
            loop,
            reader::read,
            listener));
  }

  /** Sets the size of a process's terminal; has five seconds for it. */
  public CompletableFuture<Void> resize(long processId, TerminalSize size) {
    return unary(
            AgentGrpc.getResizeTerminalMethod(),
            ResizeTerminalRequest.newBuilder()
                .setProcessId(processId)
                .setSize(ProcessRequest.size(size))
                .build(),
            ANSWER_LIMIT)
        .thenApply(response -> null);
  }

  /**
   * Ends what runs and powers the machine off.
   *
   * @param grace between SIGTERM and SIGKILL
   * @param deadline for the answer
   */
  public CompletableFuture<Void> shutdown(Duration grace, Duration deadline) {
    return unary(
            AgentGrpc.getShutdownMethod(),
            ShutdownRequest.newBuilder().setGraceNanos(grace.toNanos()).build(),
            deadline)
        .thenApply(response -> null);
  }

  /** Ends the connection; every call fails. Idempotent, does not wait. */
  @Override
  public void close() {
    channel.shutdownNow();
    closed = true;
    GuestChannel made = guest;
    if (made != null) {
      breakOff(made);
    }
  }

  /** After what gRPC has given to the loop: it would wait until the guest reads a farewell. */
  private void breakOff(GuestChannel made) {
    loop.execute(made::breakOff);
  }

  /**
   * A call that knows nothing of the deadline and the cancellation of what its caller serves, and
   * has no deadline of gRPC's, which could not rest while the guest's machine does.
   */
  private <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method) {
    return newCall(method, CallOptions.DEFAULT);
  }

  private <Q, R> ClientCall<Q, R> newCall(MethodDescriptor<Q, R> method, CallOptions options) {
    Context callers = Context.ROOT.attach();
    try {
      return channel.newCall(method, options);
    } finally {
      Context.ROOT.detach(callers);
    }
  }

  private AgentException failure(Status status) {
    AgentException failure =
        AgentException.of(status, !channel.isShutdown() && !disconnected.isDone());
    if (failure.kind() == Kind.WORKLOAD_ENDED) {
      workloadEnded.complete(String.valueOf(failure.getMessage()));
    }
    return failure;
  }

  private <Q, R> CompletableFuture<R> unary(
      MethodDescriptor<Q, R> method, Q request, @Nullable Duration limit) {
    ClientCall<Q, R> call = newCall(method);
    UnaryResponse<R> response = new UnaryResponse<>(call);
    call.start(response, new Metadata());
    call.sendMessage(request);
    call.halfClose();
    // Two: a second message is to be seen, and not to hold up the end of the call.
    call.request(2);
    if (limit != null && !response.future.isDone()) {
      Future<?> timer = timers.schedule(() -> response.giveUp(limit), limit);
      var unused = response.future.whenComplete((answer, failure) -> timer.cancel(false));
    }
    return response.future;
  }

  private final class UnaryResponse<R> extends ClientCall.Listener<R> {
    private final ClientCall<?, R> call;
    private final CompletableFuture<R> future = new CompletableFuture<>();
    private @Nullable R message;

    UnaryResponse(ClientCall<?, R> call) {
      this.call = call;
    }

    void giveUp(Duration limit) {
      future.completeExceptionally(
          new AgentException(
              Kind.NO_ANSWER, "the guest agent did not answer within " + limit.toMillis() + " ms"));
      call.cancel("no answer in time", null);
    }

    @Override
    public void onMessage(R received) {
      if (message != null) {
        future.completeExceptionally(
            new AgentException(Kind.MISBEHAVED, "the guest agent answered more than once"));
        call.cancel("more than one answer", null);
      }
      message = received;
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      R received = message;
      if (!status.isOk()) {
        future.completeExceptionally(failure(status));
      } else if (received == null) {
        future.completeExceptionally(
            new AgentException(Kind.MISBEHAVED, "the guest agent answered nothing"));
      } else {
        future.complete(received);
      }
    }
  }
}
