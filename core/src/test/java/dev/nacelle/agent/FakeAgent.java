// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.proto.agent.v1.AgentGrpc;
import dev.nacelle.proto.agent.v1.BootMarks;
import dev.nacelle.proto.agent.v1.Event;
import dev.nacelle.proto.agent.v1.Exited;
import dev.nacelle.proto.agent.v1.FileRequest;
import dev.nacelle.proto.agent.v1.FileResponse;
import dev.nacelle.proto.agent.v1.GetInfoRequest;
import dev.nacelle.proto.agent.v1.GetInfoResponse;
import dev.nacelle.proto.agent.v1.GetStatisticsRequest;
import dev.nacelle.proto.agent.v1.ListProcessesRequest;
import dev.nacelle.proto.agent.v1.ListProcessesResponse;
import dev.nacelle.proto.agent.v1.PrepareRequest;
import dev.nacelle.proto.agent.v1.PrepareResponse;
import dev.nacelle.proto.agent.v1.ProcessInfo;
import dev.nacelle.proto.agent.v1.ResizeTerminalRequest;
import dev.nacelle.proto.agent.v1.ResizeTerminalResponse;
import dev.nacelle.proto.agent.v1.RunProcessRequest;
import dev.nacelle.proto.agent.v1.RunProcessResponse;
import dev.nacelle.proto.agent.v1.SetClockRequest;
import dev.nacelle.proto.agent.v1.SetClockResponse;
import dev.nacelle.proto.agent.v1.ShutdownRequest;
import dev.nacelle.proto.agent.v1.ShutdownResponse;
import dev.nacelle.proto.agent.v1.SignalProcessRequest;
import dev.nacelle.proto.agent.v1.SignalProcessResponse;
import dev.nacelle.proto.agent.v1.StartFailed;
import dev.nacelle.proto.agent.v1.Statistics;
import dev.nacelle.proto.agent.v1.WatchEventsRequest;
import dev.nacelle.proto.agent.v1.WatchStatisticsRequest;
import io.grpc.Status;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The agent's side of the contract in Java, without a kernel: executables are {@link FakeProgram}s.
 * KILL and TERM end a process; it can wait for other signals.
 */
public final class FakeAgent extends AgentGrpc.AgentImplBase {
  private static final int PAGE = 2;

  private final Map<String, FakeProgram> programs;
  private final Map<Long, FakeProcess> running = new ConcurrentHashMap<>();
  private final AtomicLong nextId = new AtomicLong();
  private final List<PrepareRequest> prepared = new CopyOnWriteArrayList<>();
  private final Runnable powerOff;
  private final FakeFiles files = new FakeFiles();
  private final Object change = new Object();
  private final List<String> features;
  private final List<ServerCallStreamObserver<Event>> watching = new CopyOnWriteArrayList<>();
  private volatile @Nullable Statistics statistics;
  private final List<Long> clocks = new CopyOnWriteArrayList<>();

  /**
   * @param powerOff called by Shutdown
   */
  public FakeAgent(Map<String, FakeProgram> programs, Runnable powerOff) {
    this(
        programs,
        powerOff,
        List.of(
            "process-list",
            "signal-scope",
            "pid-one",
            "shared-memory",
            "merge-stderr",
            "discard-output",
            "scsi-disk",
            "statistics",
            "events",
            "data-disks",
            "furnishing",
            "security",
            "namespaces",
            "cgroup-settings",
            "executable",
            "hold",
            "mount-options",
            "set-clock",
            "files",
            "file-trees",
            "network",
            "of-the-future"));
  }

  /** One that says of itself that it has these features. */
  FakeAgent(Map<String, FakeProgram> programs, Runnable powerOff, List<String> features) {
    this.programs = Map.copyOf(programs);
    this.powerOff = powerOff;
    this.features = features;
  }

  /** What the guest uses from now on. */
  public void use(Statistics now) {
    statistics = now;
  }

  /** Unless the test has said otherwise, it does nothing while time goes on. */
  private Statistics statistics() {
    Statistics now = statistics;
    return now != null
        ? now
        : Statistics.newBuilder().setBoottimeNanos(System.nanoTime()).setCpuNanos(0).build();
  }

  /** Tells those who watch. */
  public void tell(Event event) {
    watching.forEach(call -> call.onNext(event));
  }

  /** How many watch events. */
  public int watching() {
    return (int) watching.stream().filter(call -> !call.isCancelled()).count();
  }

  /** Its files. */
  public FakeFiles files() {
    return files;
  }

  @Override
  public StreamObserver<FileRequest> useFiles(StreamObserver<FileResponse> responses) {
    return files.use(responses);
  }

  /** What Prepare was called with. */
  public List<PrepareRequest> prepared() {
    return List.copyOf(prepared);
  }

  /** What runs, in no order. */
  public List<FakeProcess> processes() {
    return List.copyOf(running.values());
  }

  /** Waits until that many processes run. */
  public void awaitProcesses(int number) throws InterruptedException {
    synchronized (change) {
      while (running.size() != number) {
        change.wait();
      }
    }
  }

  /** Ends every process, as the end of the connection or of the machine does. */
  public void killAll() {
    running.values().forEach(process -> process.kill(signalled(9)));
  }

  private static Exited signalled(int signal) {
    return Exited.newBuilder().setSignal(signal).build();
  }

  @Override
  public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
    responses.onNext(
        GetInfoResponse.newBuilder()
            .setAgentVersion("1.2.3")
            .setKernelRelease("6.1.0-fake")
            .setKernelVersion("#1 SMP fake")
            .setKernelMachine("x86_64")
            .setMemoryBytes(200 << 20)
            .setCpus(1)
            .addAllFeatures(features)
            .setBootMarks(
                BootMarks.newBuilder()
                    .setAgentEnteredNanos(20_000_000)
                    .setModulesLoadedNanos(25_000_000)
                    .setConnectedNanos(26_000_000))
            .build());
    responses.onCompleted();
  }

  @Override
  public void prepare(PrepareRequest request, StreamObserver<PrepareResponse> responses) {
    prepared.add(request);
    responses.onNext(
        PrepareResponse.newBuilder()
            .addSteps(PrepareResponse.Step.newBuilder().setName("root").setNanos(1))
            .build());
    responses.onCompleted();
  }

  @Override
  public StreamObserver<RunProcessRequest> runProcess(
      StreamObserver<RunProcessResponse> responses) {
    var call = (ServerCallStreamObserver<RunProcessResponse>) responses;
    call.disableAutoRequest();
    call.request(1);
    return new StreamObserver<>() {
      private @Nullable FakeProcess process;

      {
        call.setOnReadyHandler(
            () -> {
              if (process != null) {
                process.onReady();
              }
            });
        call.setOnCancelHandler(
            () -> {
              if (process != null) {
                process.kill(signalled(9));
                process.onReady();
              }
            });
      }

      @Override
      public void onNext(RunProcessRequest request) {
        if (process != null) {
          process.onRequest(request);
          return;
        }
        process = start(request, call);
      }

      @Override
      public void onError(Throwable failure) {}

      @Override
      public void onCompleted() {
        if (process != null) {
          process.endOfStdin();
        }
      }
    };
  }

  private @Nullable FakeProcess start(
      RunProcessRequest request, ServerCallStreamObserver<RunProcessResponse> call) {
    String command = request.getStart().getArguments(0);
    FakeProgram program = programs.get(command);
    boolean hold = request.getStart().getHold();
    if (program == null && !hold || request.getStart().getUser().equals("nobody-knows")) {
      call.onNext(
          RunProcessResponse.newBuilder()
              .setStartFailed(
                  StartFailed.newBuilder()
                      .setReason(
                          program == null
                              ? StartFailed.Reason.COMMAND_NOT_FOUND
                              : StartFailed.Reason.UNKNOWN_USER)
                      .setMessage(program == null ? command + ": not found" : "no such user")
                      .setErrno(2))
              .build());
      call.onCompleted();
      return null;
    }
    long id = nextId.incrementAndGet();
    FakeProcess process = new FakeProcess(id, request.getStart(), program, call, () -> ended(id));
    synchronized (change) {
      running.put(id, process);
      change.notifyAll();
    }
    if (hold) {
      process.hold();
    } else {
      process.start();
    }
    // One chunk of stdin ahead of what the process has read.
    call.request(1);
    return process;
  }

  private void ended(long id) {
    synchronized (change) {
      running.remove(id);
      change.notifyAll();
    }
  }

  @Override
  public void signalProcess(
      SignalProcessRequest request, StreamObserver<SignalProcessResponse> responses) {
    FakeProcess process = running.get(request.getProcessId());
    if (process == null) {
      responses.onError(Status.NOT_FOUND.withDescription("it has exited").asException());
      return;
    }
    if (request.getSignal() == 9 || request.getSignal() == 15) {
      process.kill(signalled(request.getSignal()));
    } else {
      process.signal(request.getSignal());
    }
    responses.onNext(SignalProcessResponse.getDefaultInstance());
    responses.onCompleted();
  }

  @Override
  public void listProcesses(
      ListProcessesRequest request, StreamObserver<ListProcessesResponse> responses) {
    ListProcessesResponse.Builder page = ListProcessesResponse.newBuilder();
    new TreeMap<>(running)
        .tailMap(request.getAfterProcessId(), false)
        .forEach(
            (id, process) ->
                page.addProcesses(
                    ProcessInfo.newBuilder()
                        .setProcessId(id)
                        .setPid((int) (id + 1))
                        .setRunning(true)
                        .setCommand(String.join(" ", process.spec().getArgumentsList()))
                        .setAgeNanos(1_000_000_000)
                        .setTreeSize(1)));
    boolean more = page.getProcessesCount() > PAGE;
    while (page.getProcessesCount() > PAGE) {
      page.removeProcesses(page.getProcessesCount() - 1);
    }
    responses.onNext(page.setMore(more).build());
    responses.onCompleted();
  }

  @Override
  public void getStatistics(GetStatisticsRequest request, StreamObserver<Statistics> responses) {
    responses.onNext(statistics());
    responses.onCompleted();
  }

  /** As quickly as they are taken, whatever the interval is. */
  @Override
  public void watchStatistics(
      WatchStatisticsRequest request, StreamObserver<Statistics> responses) {
    var call = (ServerCallStreamObserver<Statistics>) responses;
    CountDownLatch cancelled = new CountDownLatch(1);
    call.setOnCancelHandler(cancelled::countDown);
    Thread reader =
        new Thread(
            () -> {
              try {
                do {
                  if (call.isReady()) {
                    call.onNext(statistics());
                  }
                } while (!cancelled.await(1, TimeUnit.MILLISECONDS));
              } catch (InterruptedException | RuntimeException e) {
                // Cancelled meanwhile.
              }
            },
            "fake-statistics");
    reader.setDaemon(true);
    reader.start();
  }

  @Override
  public void watchEvents(WatchEventsRequest request, StreamObserver<Event> responses) {
    var call = (ServerCallStreamObserver<Event>) responses;
    call.setOnCancelHandler(() -> {});
    watching.add(call);
  }

  @Override
  public void resizeTerminal(
      ResizeTerminalRequest request, StreamObserver<ResizeTerminalResponse> responses) {
    FakeProcess process = running.get(request.getProcessId());
    if (process == null) {
      responses.onError(Status.NOT_FOUND.withDescription("it has exited").asException());
    } else if (!process.spec().hasTerminal()) {
      responses.onError(Status.FAILED_PRECONDITION.withDescription("no terminal").asException());
    } else {
      process.resize(request.getSize());
      responses.onNext(ResizeTerminalResponse.getDefaultInstance());
      responses.onCompleted();
    }
  }

  /** Every time that the wall clock was set to, in nanoseconds. */
  public List<Long> clocks() {
    return List.copyOf(clocks);
  }

  @Override
  public void setClock(SetClockRequest request, StreamObserver<SetClockResponse> responses) {
    clocks.add(request.getRealtimeNanos());
    responses.onNext(SetClockResponse.getDefaultInstance());
    responses.onCompleted();
  }

  @Override
  public void shutdown(ShutdownRequest request, StreamObserver<ShutdownResponse> responses) {
    killAll();
    responses.onNext(ShutdownResponse.getDefaultInstance());
    responses.onCompleted();
    powerOff.run();
  }
}
