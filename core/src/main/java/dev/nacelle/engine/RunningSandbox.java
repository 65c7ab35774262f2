// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.BootTimeline;
import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.GuestProcessInfo;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.NacelleException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxInfo;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.VmExit;
import dev.nacelle.VmStatistics;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentLoops;
import dev.nacelle.agent.ProcessRequest;
import dev.nacelle.engine.Sources.RootImage;
import dev.nacelle.spi.VirtualMachine;
import java.time.Duration;
import java.util.List;
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

  private static final String SILENT =
      "was given up, for its guest did not answer: its processors are stuck, or not run";

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

  private final AtomicBoolean ending = new AtomicBoolean();

  /** Why it ended, for people. Completed before anything is taken down. */
  private final CompletableFuture<String> reason = new CompletableFuture<>();

  private final CompletableFuture<VmExit> exit = new CompletableFuture<>();

  RunningSandbox(
      SandboxSpec spec,
      SandboxInfo info,
      BootTimeline timeline,
      ProcessPlan plan,
      VirtualMachine vm,
      AgentClient client,
      Workers workers,
      RootImage image,
      Consumer<RunningSandbox> onEnd) {
    this.spec = spec;
    this.info = info;
    this.timeline = timeline;
    this.plan = plan;
    this.vm = vm;
    this.client = client;
    this.workers = workers;
    this.image = image;
    this.onEnd = onEnd;
    calls = new GuestCalls(info.name(), reason, vm, workers);
  }

  /** From now on it ends when its guest does, or when its time is over. */
  void watch(AgentLoops loops) {
    var unusedExit =
        vm.exit()
            .thenAccept(how -> endLater(ended(how.reason() + ": " + how.detail()), Duration.ZERO));
    var unusedEnd = client.disconnected().thenRun(() -> awaitLastWords(loops));
    var unusedWorkload =
        client.workloadEnded().thenAccept(why -> endLater(ended(why), Duration.ZERO));
    client.watchLiveness();
    spec.maxLifetime().ifPresent(time -> endAfter(time, loops));
  }

  private void endAfter(Duration time, AgentLoops loops) {
    Future<?> timer =
        loops.schedule(() -> endLater("had lived for its " + time, spec.stopGrace()), time);
    var unused = reason.thenRun(() -> timer.cancel(false));
  }

  private void awaitLastWords(AgentLoops loops) {
    if (!ending.get()) {
      String why = client.wasSilent() ? SILENT : GuestCalls.LOST;
      var unused = loops.schedule(() -> endLater(why, Duration.ZERO), LAST_WORDS);
    }
  }

  private static String ended(String how) {
    return "ended because of its guest (" + how + ")";
  }

  /** Called on threads that must not block. */
  private void endLater(String why, Duration grace) {
    if (!ending.get()) {
      workers.execute(() -> end(why, grace));
    }
  }

  @Override
  public void close() {
    end("was closed", spec.stopGrace());
  }

  private void end(String why, Duration grace) {
    if (ending.compareAndSet(false, true)) {
      reason.complete(why);
      if (!vm.exit().isDone() && !client.disconnected().isDone()) {
        Quietly.run("stopping the guest of " + this, () -> stopGuest(grace));
      }
      Quietly.run("closing the connection of " + this, client::close);
      Quietly.run("closing the machine of " + this, vm::close);
      Quietly.run("releasing the image of " + this, image::close);
      Quietly.run("forgetting " + this, () -> onEnd.accept(this));
      exit.complete(vm.exit().getNow(Failures.NOT_CLOSED));
    } else {
      exit.join();
    }
  }

  /** The guest's chance to end by itself; what it does with it is its own affair. */
  private void stopGuest(Duration grace) {
    Duration limit = grace.plus(MARGIN);
    try {
      client.shutdown(grace, limit).get(limit.toNanos(), TimeUnit.NANOSECONDS);
      vm.exit().get(LAST_WORDS.toNanos(), TimeUnit.NANOSECONDS);
    } catch (ExecutionException | TimeoutException e) {
      // Closing the machine does what the guest did not.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public ExecResult exec(ProcessSpec process) {
    ExecCapture capture = capture(process);
    return capture.result(awaitOrKill(capture.start(), capture::cancel));
  }

  @Override
  public CompletableFuture<ExecResult> execAsync(ProcessSpec process) {
    ExecCapture capture;
    try {
      capture = capture(process);
    } catch (NacelleException e) {
      return CompletableFuture.failedFuture(e);
    }
    CompletableFuture<ExitStatus> ended = capture.start();
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
    calls.requireOpen();
    byte[] stdin = process.stdin().orElse(null);
    ProcessRequest request = plan.request(process, stdin != null);
    return new ExecCapture(
        client,
        request,
        stdin == null ? new byte[0] : stdin,
        (int) process.outputLimit().bytes(),
        hostDeadline(process));
  }

  @Override
  public GuestProcess start(ProcessSpec process) {
    calls.requireOpen();
    ProcessRequest request = plan.request(process, true);
    RunningProcess running =
        new RunningProcess(
            calls, client, process, request, plan.stopSignal(process), hostDeadline(process));
    var unused = awaitOrKill(running.start(), running::close);
    return running;
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
  public boolean isAlive() {
    return !reason.isDone();
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
  public VmStatistics statistics() {
    return vm.statistics();
  }

  @Override
  public CompletableFuture<VmExit> onExit() {
    return exit.thenApplyAsync(how -> how, workers);
  }

  @Override
  public String toString() {
    return "sandbox " + info.name();
  }
}
