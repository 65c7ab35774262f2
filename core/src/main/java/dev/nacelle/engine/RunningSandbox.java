// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.BootTimeline;
import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestFiles;
import dev.nacelle.GuestIOException;
import dev.nacelle.GuestProcess;
import dev.nacelle.GuestProcessInfo;
import dev.nacelle.GuestSocket;
import dev.nacelle.GuestStatistics;
import dev.nacelle.HeldProcess;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.NacelleException;
import dev.nacelle.OutputConsumer;
import dev.nacelle.Pause;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxExit.Reason;
import dev.nacelle.SandboxInfo;
import dev.nacelle.SandboxNetwork;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentLoops;
import dev.nacelle.agent.ProcessRequest;
import dev.nacelle.engine.Sources.RootImage;
import dev.nacelle.internal.ListenerGuard;
import dev.nacelle.internal.jfr.Recordings;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.spi.VirtualMachine;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** A sandbox on a virtual machine whose agent is ready. */
final class RunningSandbox implements Sandbox {
  /** What the host grants the guest beyond a deadline that the guest is to keep. */
  private static final Duration MARGIN = Duration.ofSeconds(5);

  /** How long a machine whose agent has gone may take to say why. */
  private static final Duration LAST_WORDS = Duration.ofSeconds(2);

  /** What closing grants the guest beyond the grace: to answer, and to power its machine off. */
  private static final Duration FAREWELL = Duration.ofSeconds(1);

  /** The same where it has to write to disks that outlive it first. */
  private static final Duration FAREWELL_OF_DISKS = Duration.ofMinutes(1);

  private static final SandboxExit SILENT =
      SandboxExit.of(
          Reason.CONNECTION_LOST,
          "was given up, for its guest did not answer: its processors are stuck, or not run");

  private static final SandboxExit KILLED = SandboxExit.of(Reason.KILLED, "was killed");

  /** What guests' memory is counted in. */
  private static final long PAGE = 4096;

  private final SandboxEvents events;
  private final String id;
  private final SandboxSpec spec;
  private final SandboxInfo info;
  private final BootTimeline timeline;
  private final ProcessPlan plan;
  private final VirtualMachine vm;
  private final AgentClient client;
  private final Workers workers;
  private final RootImage image;
  private final Consumer<RunningSandbox> onEnd;
  private final GuestCalls calls;
  private final GuestSockets sockets;
  private final Pauses pauses;
  private final GuestSight sight;
  private final GuestFiles files;
  private final @Nullable RunningNetwork network;

  /** Why it ended. Who completes it, before anything is taken down, does that. */
  private final CompletableFuture<SandboxExit> cause = new CompletableFuture<>();

  /** The guest is to be waited for no longer. */
  private final CompletableFuture<Void> killed = new CompletableFuture<>();

  /** The same with the machine's exit, when nothing is left. */
  private final CompletableFuture<SandboxExit> exit = new CompletableFuture<>();

  private final AtomicBoolean takenDown = new AtomicBoolean();

  private final DetachedProcesses detached = new DetachedProcesses();

  private volatile @Nullable IdleWatch idle;
  private volatile @Nullable HostSight hostSight;

  RunningSandbox(
      SandboxEvents events,
      SandboxSpec spec,
      SandboxInfo info,
      BootTimeline timeline,
      ProcessPlan plan,
      VirtualMachine vm,
      AgentClient client,
      Workers workers,
      RootImage image,
      @Nullable HostNetwork network,
      Consumer<RunningSandbox> onEnd) {
    this.events = events;
    id = events.id();
    this.spec = spec;
    this.info = info;
    this.timeline = timeline;
    this.plan = plan;
    this.vm = vm;
    this.client = client;
    this.workers = workers;
    this.image = image;
    this.onEnd = onEnd;
    calls = new GuestCalls(info.name(), cause, client.disconnected(), vm, workers);
    this.network = network == null ? null : new RunningNetwork(calls, spec, cause, network);
    pauses = new Pauses(vm, new Pausing());
    sight = new GuestSight(calls, client, workers, "sandbox " + info.name());
    Consumer<CompletableFuture<Void>> onUse =
        ended -> {
          touch();
          var unused = ended.thenRun(this::touch);
        };
    sockets =
        new GuestSockets(calls, vm, client.timers()::schedule, GuestSockets.ANSWER_LIMIT, onUse);
    files =
        new SandboxFiles(
            calls,
            client,
            (order, ended) -> {
              onUse.accept(ended);
              var unused = ended.thenRun(Recordings.file(id, info.name(), order.name()));
            });
  }

  /** What rests while its machine does, and who is told. */
  private final class Pausing implements Pauses.Concerned {
    @Override
    public void rest() {
      client.pause();
      setNetworkPaused(true);
    }

    @Override
    public void goOn() {
      client.resume();
      setNetworkPaused(false);
      // Its answer is of no interest: a guest that gives none is found out by other means.
      var unused = client.setClock(Pauses.realtime());
    }

    private void setNetworkPaused(boolean paused) {
      if (network != null) {
        network.setPaused(paused);
      }
    }

    @Override
    public Runnable stands(String reason) {
      return events.paused(reason);
    }

    @Override
    public Runnable goesOn(Duration time) {
      return events.resumed(time);
    }
  }

  /** From now on it ends when its guest does, or when its time is over. */
  void watch(AgentLoops loops) {
    var unusedExit = vm.exit().thenAccept(how -> endLater(ended(how)));
    var unusedEnd = client.disconnected().thenRun(() -> awaitLastWords(loops));
    var unusedWorkload =
        client
            .workloadEnded()
            .thenAccept(
                why -> endLater(SandboxExit.of(Reason.GUEST_ENDED, becauseOfItsGuest(why))));
    client.watchLiveness();
    HostSight seen = new HostSight(calls, vm::statistics, loops::schedule, workers, toString());
    hostSight = seen;
    var unusedSight = cause.thenRun(seen::end);
    sight.tell(events);
    spec.maxLifetime().ifPresent(time -> endAfter(time, loops));
    spec.idleTimeout().ifPresent(this::endWhenIdle);
  }

  private void endAfter(Duration time, AgentLoops loops) {
    SandboxExit over = SandboxExit.of(Reason.LIFETIME, "had lived for its " + time);
    Future<?> timer = loops.schedule(() -> endLater(over), time);
    var unused = cause.thenRun(() -> timer.cancel(false));
  }

  private void endWhenIdle(Duration time) {
    SandboxExit over = SandboxExit.of(Reason.IDLE, "was idle for " + time);
    IdleWatch watch =
        new IdleWatch(time, client::statistics, client.timers()::schedule, () -> endLater(over));
    idle = watch;
    watch.start();
    var unused = cause.thenRun(watch::stop);
  }

  /** The guest is given something to do. */
  private void touch() {
    IdleWatch watch = idle;
    if (watch != null) {
      watch.touch();
    }
  }

  /** Starts a process, which is recorded. */
  private CompletableFuture<ExitStatus> run(ProcessSpec process, ProcessCall call) {
    String executable = process.isEntrypoint() ? "(entrypoint)" : process.arguments().get(0);
    Consumer<@Nullable ExitStatus> recording = Recordings.process(id, info.name(), executable);
    touch();
    var unused =
        call.ended()
            .whenComplete(
                (status, failure) -> {
                  touch();
                  recording.accept(status);
                });
    call.start();
    return call.ended();
  }

  private void awaitLastWords(AgentLoops loops) {
    if (!cause.isDone()) {
      SandboxExit why = client.wasSilent() ? SILENT : GuestCalls.LOST;
      var unused = loops.schedule(() -> endLater(saidOr(why)), LAST_WORDS);
    }
  }

  /** What its machine has said by now, also where who is to pass that on has not come to it yet. */
  private SandboxExit saidOr(SandboxExit why) {
    CompletableFuture<VmExit> said = vm.exit();
    return said.isDone() && !said.isCompletedExceptionally() ? ended(said.join()) : why;
  }

  /** Why it ends when its machine has ended by itself. */
  private static SandboxExit ended(VmExit how) {
    String what = how.reason() + ": " + how.detail();
    return switch (how.reason()) {
      case POWER_OFF, EXITED -> SandboxExit.of(Reason.GUEST_ENDED, becauseOfItsGuest(what), how);
      case RESET, CRASHED, GUEST_FAULT ->
          SandboxExit.of(Reason.GUEST_CRASHED, becauseOfItsGuest(what), how);
      case HOST_ERROR ->
          SandboxExit.of(Reason.HOST_FAILED, "ended because of its host (" + what + ")", how);
      case CLOSED -> SandboxExit.of(Reason.CLOSED, "was closed with its hypervisor", how);
    };
  }

  private static String becauseOfItsGuest(String how) {
    return "ended because of its guest (" + how + ")";
  }

  /** Called on threads that must not block. */
  private void endLater(SandboxExit why) {
    if (cause.complete(why)) {
      workers.executePatiently(() -> takeDown(why));
    }
  }

  @Override
  public void kill() {
    killed.complete(null);
    endLater(KILLED);
  }

  @Override
  public void close() {
    close("was closed");
  }

  /**
   * Closes it.
   *
   * @param detail as {@link SandboxExit#detail()}
   */
  void close(String detail) {
    SandboxExit why = SandboxExit.of(Reason.CLOSED, detail);
    boolean unused = cause.complete(why);
    takeDown(cause.join());
    exit.join();
  }

  /** Takes it down, unless somebody is at it. */
  private void takeDown(SandboxExit why) {
    if (!takenDown.compareAndSet(false, true)) {
      return;
    }
    RunningNetwork open = network;
    if (open != null) {
      Quietly.run("closing the network of " + this, open::close);
    }
    Duration grace =
        switch (why.reason()) {
          case CLOSED, LIFETIME, IDLE -> spec.stopGrace();
          default -> Duration.ZERO;
        };
    boolean reachable =
        pauses.reasons().isEmpty() && !vm.exit().isDone() && !client.disconnected().isDone();
    boolean asked = !grace.isZero() || (keepsDisks() && !killed.isDone());
    if (asked && reachable) {
      Quietly.run("stopping the guest of " + this, () -> stopGuest(grace));
    }
    Quietly.run("closing the connection of " + this, client::close);
    Quietly.run("closing the machine of " + this, vm::close);
    Quietly.run("releasing the image of " + this, image::close);
    Quietly.run("forgetting " + this, () -> onEnd.accept(this));
    exit.complete(
        SandboxExit.of(why.reason(), why.detail(), vm.exit().getNow(Failures.NOT_CLOSED)));
  }

  private boolean keepsDisks() {
    return spec.dataDisks().values().stream()
        .anyMatch(disk -> disk.kind() == DataDisk.Kind.IMAGE && !disk.isReadOnly());
  }

  /** The guest's chance to end by itself; what it does with it is its own affair. */
  private void stopGuest(Duration grace) {
    Duration limit = grace.plus(keepsDisks() ? FAREWELL_OF_DISKS : FAREWELL);
    CompletableFuture<?> stopped =
        client.shutdown(grace, limit).thenCombine(vm.exit(), (answered, ended) -> ended);
    try {
      CompletableFuture.anyOf(stopped, killed).get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException | TimeoutException e) {
      // Closing the machine does what the guest did not.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public ExecResult exec(ProcessSpec process) {
    ExecCapture capture = capture(process);
    return capture.result(awaitOrKill(run(process, capture), capture::cancel));
  }

  @Override
  public CompletableFuture<ExecResult> execAsync(ProcessSpec process) {
    ExecCapture capture;
    try {
      capture = capture(process);
    } catch (NacelleException e) {
      return CompletableFuture.failedFuture(e);
    }
    CompletableFuture<ExitStatus> ended = run(process, capture);
    CompletableFuture<ExecResult> result = calls.translated(ended).thenApply(capture::result);
    var unused =
        result.whenComplete(
            (done, failure) -> {
              // Cancelled, or completed by its owner otherwise.
              if (!ended.isDone()) {
                capture.cancel();
              }
            });
    return result;
  }

  private ExecCapture capture(ProcessSpec process) {
    return new ExecCapture(calls, client, process, request(process), hostDeadline(process));
  }

  private ProcessRequest request(ProcessSpec process) {
    calls.requireOpen();
    return plan.request(process, process.stdin().isPresent());
  }

  @Override
  public <X extends Exception> ExitStatus exec(ProcessSpec process, OutputConsumer<X> consumer)
      throws X {
    ExecStream stream =
        new ExecStream(calls, client, process, request(process), hostDeadline(process));
    CompletableFuture<ExitStatus> ended = run(process, stream);
    boolean complete = false;
    try {
      stream.drain(consumer);
      ExitStatus status = calls.await(ended);
      complete = true;
      return status;
    } finally {
      if (!complete) {
        stream.cancel();
      }
    }
  }

  @Override
  public GuestProcess start(ProcessSpec process) {
    RunningProcess running = running(process);
    var unused = awaitOrKill(running.call().started(), running::close);
    return running;
  }

  @Override
  public CompletableFuture<GuestProcess> startAsync(ProcessSpec process) {
    RunningProcess running;
    try {
      running = running(process);
    } catch (NacelleException e) {
      return CompletableFuture.failedFuture(e);
    }
    CompletableFuture<GuestProcess> result =
        calls.translated(running.call().started()).thenApply(pid -> running);
    var unused =
        result.whenComplete(
            (done, failure) -> {
              // Given up, or completed by its owner otherwise: nobody else has it.
              if (done != running) {
                running.close();
              }
            });
    return result;
  }

  @Override
  public HeldProcess hold(ProcessSpec process) {
    RunningProcess running = running(process, true);
    long pid = awaitOrKill(running.call().created(), running::close);
    return new ProcessOnHold(calls, running, pid);
  }

  private RunningProcess running(ProcessSpec process) {
    return running(process, false);
  }

  private RunningProcess running(ProcessSpec process, boolean hold) {
    calls.requireOpen();
    ProcessRequest request = plan.request(process, true, hold);
    RunningProcess running =
        new RunningProcess(
            calls, client, process, request, plan.stopSignal(process), hostDeadline(process));
    var unused = run(process, running.call());
    return running;
  }

  @Override
  public GuestProcessInfo startDetached(ProcessSpec process) {
    calls.requireOpen();
    DetachedProcess made =
        new DetachedProcess(
            calls,
            client,
            process,
            plan.request(process, true),
            plan.stopSignal(process),
            hostDeadline(process));
    var unused = run(process, made);
    long pid = awaitOrKill(made.started(), made::kill);
    detached.add(made);
    return GuestProcessInfo.builder(made.id(), String.join(" ", process.arguments()))
        .pid(pid)
        .startedAt(Instant.now())
        .build();
  }

  @Override
  public GuestProcess attach(long processId) {
    calls.requireOpen();
    return detached.find(processId).attach();
  }

  @Override
  public List<GuestProcessInfo> processes() {
    calls.requireOpen();
    return calls.await(client.processes());
  }

  @Override
  public void signal(GuestProcessInfo process, Signal signal, SignalScope scope) {
    calls.requireOpen();
    calls.await(GuestCalls.unlessEnded(client.signal(process.id(), signal, scope)));
  }

  @Override
  public GuestSocket connect(int port) throws GuestIOException {
    return sockets.connect(port);
  }

  @Override
  public GuestFiles files() {
    return files;
  }

  @Override
  public SandboxNetwork network() {
    RunningNetwork open = network;
    if (open == null) {
      throw new IllegalStateException(
          this
              + " was started without a network: give its specification one, such as"
              + " NetworkPolicy.internal(), which leads nowhere");
    }
    return open;
  }

  private <T> T awaitOrKill(CompletableFuture<T> future, Runnable kill) {
    try {
      return calls.await(future);
    } catch (InterruptedOperationException e) {
      kill.run();
      throw e;
    }
  }

  private static @Nullable Duration hostDeadline(ProcessSpec process) {
    return process.timeout().map(MARGIN::plus).orElse(null);
  }

  @Override
  public Pause pause(String reason) {
    calls.requireOpen();
    Pause pause = pauses.begin(reason);
    if (vm.exit().isDone()) {
      // Nothing stands still that is no more.
      pause.close();
      throw calls.endedException(null);
    }
    return pause;
  }

  @Override
  public List<String> pauses() {
    return isAlive() ? pauses.reasons() : List.of();
  }

  @Override
  public void setMemory(DataSize size) {
    calls.requireOpen();
    if (size.bytes() == 0 || size.bytes() > spec.memory().bytes()) {
      throw new IllegalArgumentException(
          "the sandbox has "
              + spec.memory()
              + " of memory, of which it can have less, not "
              + size);
    }
    if (!canResize()) {
      throw new UnsupportedOperationException(
          "the memory of "
              + this
              + " stays as it is: that wants a hypervisor that can resize it, and"
              + " MemoryPolicy.DENSITY");
    }
    vm.setMemory(DataSize.bytes(size.bytes() + PAGE - 1 & -PAGE));
  }

  @Override
  public DataSize memory() {
    return canResize() ? vm.memory() : spec.memory();
  }

  private boolean canResize() {
    return vm.abilities().contains(VirtualMachine.Ability.RESIZE_MEMORY);
  }

  @Override
  public boolean isAlive() {
    return !cause.isDone();
  }

  @Override
  public String id() {
    return id;
  }

  @Override
  public SandboxSpec spec() {
    return spec;
  }

  @Override
  public SandboxInfo info() {
    return info;
  }

  @Override
  public BootTimeline timeline() {
    return timeline;
  }

  @Override
  public String console() {
    return vm.console().tail();
  }

  @Override
  public ConsoleStream streamConsole(Consumer<byte[]> listener) {
    ListenerGuard guard = new ListenerGuard("a listener of the console of " + this);
    Objects.requireNonNull(listener);
    return vm.console().stream(output -> guard.run(() -> listener.accept(output)))::close;
  }

  @Override
  public VmStatistics statistics() {
    return vm.statistics();
  }

  @Override
  public StatisticsStream streamStatistics(Duration interval, Consumer<VmStatistics> listener) {
    return Objects.requireNonNull(hostSight, "it is watched before anybody has it").stream(
        interval, listener);
  }

  @Override
  public GuestStatistics guestStatistics() {
    return sight.statistics();
  }

  @Override
  public StatisticsStream streamGuestStatistics(
      Duration interval, Consumer<GuestStatistics> listener) {
    return sight.stream(interval, listener);
  }

  @Override
  public CompletableFuture<SandboxExit> onExit() {
    return exit.thenApplyAsync(how -> how, workers::executePatiently);
  }

  @Override
  public String toString() {
    return "sandbox " + info.name();
  }
}
