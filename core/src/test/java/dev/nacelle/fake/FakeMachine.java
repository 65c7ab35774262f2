// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.fake;

import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.FakeAgent;
import dev.nacelle.agent.FakeAgentServer;
import dev.nacelle.agent.FakeProgram;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.proto.agent.v1.AgentGrpc;
import dev.nacelle.proto.agent.v1.Event;
import dev.nacelle.proto.agent.v1.FileRequest;
import dev.nacelle.proto.agent.v1.FileResponse;
import dev.nacelle.proto.agent.v1.GetInfoRequest;
import dev.nacelle.proto.agent.v1.GetInfoResponse;
import dev.nacelle.proto.agent.v1.GetStatisticsRequest;
import dev.nacelle.proto.agent.v1.ListProcessesRequest;
import dev.nacelle.proto.agent.v1.ListProcessesResponse;
import dev.nacelle.proto.agent.v1.PrepareRequest;
import dev.nacelle.proto.agent.v1.PrepareResponse;
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
import dev.nacelle.proto.agent.v1.Statistics;
import dev.nacelle.proto.agent.v1.WatchEventsRequest;
import dev.nacelle.proto.agent.v1.WatchStatisticsRequest;
import dev.nacelle.spi.Console;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.ConnectException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A machine whose guest is a {@link FakeAgent}. */
public final class FakeMachine implements VirtualMachine {
  /** A port of the guest whose connects are not answered. */
  public static final int SILENT_PORT = 9999;

  private static final int BUFFER = 64 * 1024;
  private static final String PANIC = "[    0.5] Kernel panic - not syncing: fake\n";

  private final VmSpec spec;
  private final Fault fault;
  private final Consumer<FakeMachine> onClose;
  private final FakeAgent agent;
  private final FakeAgentServer server;
  private final ExecutorService thread =
      Executors.newSingleThreadExecutor(
          task -> {
            Thread vcpu = new Thread(task, "fake-vcpu");
            vcpu.setDaemon(true);
            return vcpu;
          });
  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();
  private final CompletableFuture<Duration> askedToShutDown = new CompletableFuture<>();
  private final CompletableFuture<Void> startGivenUp = new CompletableFuture<>();
  private final CompletableFuture<Void> dialled = new CompletableFuture<>();
  private final List<InMemoryGuestConnection> connections = new CopyOnWriteArrayList<>();
  private final Map<Integer, Consumer<GuestConnection>> guestPrograms = new ConcurrentHashMap<>();
  private final List<CompletableFuture<GuestConnection>> connecting = new CopyOnWriteArrayList<>();
  private final CompletableFuture<Void> asked = new CompletableFuture<>();
  private final AtomicReference<@Nullable CompletableFuture<Void>> pause = new AtomicReference<>();
  private final AtomicInteger pauses = new AtomicInteger();
  private final CompletableFuture<InMemoryGuestConnection> network = new CompletableFuture<>();
  private volatile DataSize memory;
  private final Map<Integer, Consumer<GuestConnection>> onConnect = new ConcurrentHashMap<>();
  private volatile boolean deaf;
  private volatile boolean livelyWhenDeaf;
  private final CompletableFuture<Void> wedged = new CompletableFuture<>();
  private final Object consoleLock = new Object();
  private String console; // guarded by consoleLock
  private final List<Consumer<byte[]>> listeners = new ArrayList<>(); // guarded by consoleLock
  private volatile OptionalLong firstRun = OptionalLong.empty();
  private boolean closed;

  FakeMachine(
      VmSpec spec, Map<String, FakeProgram> programs, Fault fault, Consumer<FakeMachine> onClose) {
    this.spec = spec;
    memory = spec.memory();
    this.fault = fault;
    this.onClose = onClose;
    console = spec.guest() instanceof VmSpec.Linux ? "[    0.0] Linux version 6.1.0-fake\n" : "";
    agent = new FakeAgent(programs, this::powerOff);
    server = new FakeAgentServer(new FaultyAgent());
  }

  public VmSpec spec() {
    return spec;
  }

  public FakeAgent agent() {
    return agent;
  }

  /** Completes when the guest has dialled, or would have. */
  public CompletableFuture<Void> dialled() {
    return dialled;
  }

  private void powerOff() {
    if (fault != Fault.NEVER_POWERS_OFF) {
      end(VmExit.Reason.POWER_OFF, "ACPI S5");
    }
  }

  /** Ports on which the host takes another connection. */
  public Set<Integer> listening() {
    return Set.copyOf(onConnect.keySet());
  }

  /** Completes when the guest has been asked to shut down, with the grace of its processes. */
  public CompletableFuture<Duration> askedToShutDown() {
    return askedToShutDown;
  }

  /**
   * Completes when the host has cancelled a process of which it was not said that it started; with
   * {@link Fault#NEVER_STARTS_PROCESSES}.
   */
  public CompletableFuture<Void> startGivenUp() {
    return startGivenUp;
  }

  /** The machine ends by itself. */
  public void endBy(VmExit.Reason reason) {
    end(reason, "as the test has it");
  }

  /** The guest's kernel panics. */
  public void panic() {
    write(PANIC);
    end(VmExit.Reason.RESET, "the guest asked for a reset");
  }

  /** The guest writes to its console. */
  public void print(String text) {
    thread.execute(() -> write(text));
  }

  private void write(String text) {
    synchronized (consoleLock) {
      console += text;
      listeners.forEach(listener -> listener.accept(text.getBytes(StandardCharsets.UTF_8)));
    }
  }

  /**
   * From now on no call is answered.
   *
   * @param lively but what tells that the agent is there
   */
  public void deafen(boolean lively) {
    livelyWhenDeaf = lively;
    deaf = true;
    if (!lively) {
      agent.files().stop();
    }
  }

  /** The guest's processor does nothing any more until the machine ends. */
  public void wedge() {
    thread.execute(wedged::join);
  }

  /** The agent loses its connections; the machine lives on. */
  public void breakConnections() {
    connections.forEach(InMemoryGuestConnection::reset);
  }

  /** The agent ends its connection; the machine lives on. */
  public void hangUp() {
    connections.get(0).reset();
  }

  /** The guest resets its socket device; the machine lives on. */
  public void loseConnections() {
    connections.forEach(InMemoryGuestConnection::lose);
  }

  private void end(VmExit.Reason reason, String detail) {
    exit.complete(VmExit.of(reason, detail));
    resume();
    wedged.complete(null);
    loseConnections();
    IOException why = new GuestLostException("the virtual machine has ended");
    connecting.forEach(future -> future.completeExceptionally(why));
    agent.killAll();
  }

  @Override
  public void start() {
    if (fault == Fault.START_FAILS) {
      throw new OutOfMemoryError("unable to create native thread");
    }
    // Longer ago than the agent says that it took from there to its dial.
    firstRun = OptionalLong.of(System.nanoTime() - 30_000_000);
    thread.execute(this::boot);
  }

  private void boot() {
    switch (fault) {
      case PANICS_BEFORE_DIALLING -> panic();
      case NEVER_DIALS -> dialled.complete(null);
      default -> dial();
    }
  }

  private void dial() {
    InMemoryGuestConnection.Pair pair =
        InMemoryGuestConnection.pair(BUFFER, spec.name().hashCode(), thread, 40_000, 1024);
    connections.add(pair.host());
    switch (fault) {
      case DIALS_AND_IS_SILENT -> {}
      case SPEAKS_GARBAGE -> {
        try {
          pair.guest()
              .write(ByteBuffer.wrap("SSH-2.0-OpenSSH_9.2\r\n".getBytes(StandardCharsets.UTF_8)));
        } catch (IOException e) {
          throw new IllegalStateException(e);
        }
      }
      default -> server.accept(pair.guest());
    }
    Consumer<GuestConnection> listener = onConnect.get(AgentClient.PORT);
    if (listener != null) {
      listener.accept(pair.host());
    }
    dialled.complete(null);
  }

  @Override
  public CompletableFuture<VmExit> exit() {
    return exit.copy();
  }

  @Override
  public Listener listen(int port, Consumer<GuestConnection> newListener) {
    onConnect.put(port, newListener);
    return () -> onConnect.remove(port, newListener);
  }

  /** The guest connects to a port of the host's on which that listens; the guest's end. */
  public InMemoryGuestConnection dial(int port) {
    InMemoryGuestConnection.Pair pair =
        InMemoryGuestConnection.pair(BUFFER, port, thread, 40_000, port);
    connections.add(pair.host());
    Objects.requireNonNull(onConnect.get(port), "nobody listens").accept(pair.host());
    return pair.guest();
  }

  /** The guest's end of its network. */
  public CompletableFuture<InMemoryGuestConnection> network() {
    return network;
  }

  @Override
  public CompletableFuture<GuestConnection> connect(int port) {
    CompletableFuture<GuestConnection> future = new CompletableFuture<>();
    if (port == SILENT_PORT) {
      connecting.add(future);
      asked.complete(null);
    }
    Consumer<GuestConnection> program = guestPrograms.get(port);
    if (exit.isDone()) {
      future.completeExceptionally(new GuestLostException("the virtual machine has ended"));
    } else if (program != null) {
      InMemoryGuestConnection.Pair pair =
          InMemoryGuestConnection.pair(BUFFER, port, thread, port, 0x4000_0000);
      connections.add(pair.host());
      future.complete(pair.host());
      program.accept(pair.guest());
    } else if (port != SILENT_PORT) {
      future.completeExceptionally(new ConnectException("the guest refused"));
    }
    return future;
  }

  /**
   * A program of the guest listens on that port.
   *
   * @param onConnect called with the guest's end of each connection, which it owns; must not block
   */
  public void listenInGuest(int port, Consumer<GuestConnection> onConnect) {
    guestPrograms.put(port, onConnect);
  }

  /** Fails those who wait for {@link #SILENT_PORT}. */
  public void failConnects(IOException failure) {
    connecting.forEach(future -> future.completeExceptionally(failure));
  }

  /** Completes when somebody has connected to {@link #SILENT_PORT}. */
  public CompletableFuture<Void> asked() {
    return asked;
  }

  @Override
  public Set<Ability> abilities() {
    return fault == Fault.CANNOT_BE_PAUSED
        ? Set.of()
        : Set.of(Ability.PAUSE, Ability.RESIZE_MEMORY);
  }

  @Override
  public void setMemory(DataSize size) {
    memory = size;
  }

  @Override
  public DataSize memory() {
    return memory;
  }

  /** Nothing comes from the guest any more, and nothing reaches it. */
  @Override
  public void pause() {
    if (fault == Fault.PAUSE_FAILS) {
      end(VmExit.Reason.HOST_ERROR, "it did not stand still");
      throw new HypervisorException(Stage.RUN, "it did not stand still", null, null);
    }
    CompletableFuture<Void> end = new CompletableFuture<>();
    CompletableFuture<Void> begin = new CompletableFuture<>();
    if (!exit.isDone() && pause.compareAndSet(null, end)) {
      pauses.incrementAndGet();
      thread.execute(
          () -> {
            begin.complete(null);
            end.join();
          });
      begin.join();
    }
  }

  @Override
  public void resume() {
    CompletableFuture<Void> end = pause.getAndSet(null);
    if (end != null) {
      end.complete(null);
    }
  }

  /** Whether it stands still. */
  public boolean isPaused() {
    return pause.get() != null;
  }

  /** How often it was paused. */
  public int pauses() {
    return pauses.get();
  }

  @Override
  public Console console() {
    return new Console() {
      @Override
      public String tail() {
        synchronized (consoleLock) {
          return console;
        }
      }

      @Override
      public Listener stream(Consumer<byte[]> onOutput) {
        synchronized (consoleLock) {
          if (!console.isEmpty()) {
            onOutput.accept(console.getBytes(StandardCharsets.UTF_8));
          }
          listeners.add(onOutput);
        }
        return () -> {
          synchronized (consoleLock) {
            listeners.remove(onOutput);
          }
        };
      }
    };
  }

  @Override
  public VmStatistics statistics() {
    return firstRun.isPresent()
        ? VmStatistics.of(firstRun.getAsLong(), Map.of(), Map.of())
        : VmStatistics.of(Map.of(), Map.of());
  }

  @Override
  public synchronized void close() {
    if (closed) {
      return;
    }
    closed = true;
    end(VmExit.Reason.CLOSED, "closed");
    // It may be about to dial.
    CompletableFuture.runAsync(() -> {}, thread).join();
    server.close();
    thread.shutdown();
    try {
      thread.awaitTermination(1, TimeUnit.MINUTES);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    onClose.accept(this);
    if (fault == Fault.CLOSE_FAILS) {
      throw new IllegalStateException("close: EIO");
    }
  }

  /** The agent with the fault in it. */
  private final class FaultyAgent extends AgentGrpc.AgentImplBase {
    @Override
    public void getInfo(GetInfoRequest request, StreamObserver<GetInfoResponse> responses) {
      if (fault == Fault.DIES_IN_GET_INFO) {
        panic();
      } else if (!deaf || livelyWhenDeaf) {
        agent.getInfo(request, responses);
      }
    }

    @Override
    public void prepare(PrepareRequest request, StreamObserver<PrepareResponse> responses) {
      switch (fault) {
        case DIES_IN_PREPARE -> panic();
        case NEVER_PREPARES -> {}
        case BREAKS_CONNECTION_IN_PREPARE -> breakConnections();
        case REFUSES_TO_PREPARE ->
            responses.onError(
                Status.FAILED_PRECONDITION
                    .withDescription("mount the image: EUCLEAN: Structure needs cleaning")
                    .asException());
        default -> {
          if (request.hasNetwork() && fault != Fault.HAS_NO_NETWORK) {
            network.complete(dial(HostNetwork.PORT));
          }
          agent.prepare(request, responses);
        }
      }
    }

    @Override
    public StreamObserver<RunProcessRequest> runProcess(
        StreamObserver<RunProcessResponse> responses) {
      return deaf || fault == Fault.NEVER_STARTS_PROCESSES
          ? new SilentCall<>()
          : agent.runProcess(responses);
    }

    @Override
    public StreamObserver<FileRequest> useFiles(StreamObserver<FileResponse> responses) {
      return deaf ? new SilentCall<>() : agent.useFiles(responses);
    }

    @Override
    public void signalProcess(
        SignalProcessRequest request, StreamObserver<SignalProcessResponse> responses) {
      if (!deaf && fault != Fault.IGNORES_SIGNALS) {
        agent.signalProcess(request, responses);
      }
    }

    @Override
    public void listProcesses(
        ListProcessesRequest request, StreamObserver<ListProcessesResponse> responses) {
      if (!deaf) {
        agent.listProcesses(request, responses);
      }
    }

    @Override
    public void getStatistics(GetStatisticsRequest request, StreamObserver<Statistics> responses) {
      if (!deaf) {
        agent.getStatistics(request, responses);
      }
    }

    @Override
    public void watchStatistics(
        WatchStatisticsRequest request, StreamObserver<Statistics> responses) {
      agent.watchStatistics(request, responses);
    }

    @Override
    public void watchEvents(WatchEventsRequest request, StreamObserver<Event> responses) {
      agent.watchEvents(request, responses);
    }

    @Override
    public void resizeTerminal(
        ResizeTerminalRequest request, StreamObserver<ResizeTerminalResponse> responses) {
      if (!deaf) {
        agent.resizeTerminal(request, responses);
      }
    }

    @Override
    public void setClock(SetClockRequest request, StreamObserver<SetClockResponse> responses) {
      if (!deaf) {
        agent.setClock(request, responses);
      }
    }

    @Override
    public void shutdown(ShutdownRequest request, StreamObserver<ShutdownResponse> responses) {
      askedToShutDown.complete(Duration.ofNanos(request.getGraceNanos()));
      if (fault != Fault.IGNORES_SHUTDOWN) {
        agent.shutdown(request, responses);
      }
    }
  }

  /** Takes what it is told, and says nothing. */
  private final class SilentCall<T> implements StreamObserver<T> {
    @Override
    public void onNext(T request) {}

    @Override
    public void onError(Throwable failure) {
      startGivenUp.complete(null);
    }

    @Override
    public void onCompleted() {}
  }
}
