// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.BootException;
import dev.nacelle.BootTimeline.Entry;
import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.NacelleException;
import dev.nacelle.SandboxInfo;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.WritableLayer;
import dev.nacelle.agent.AgentClient;
import dev.nacelle.agent.AgentException;
import dev.nacelle.agent.AgentInfo;
import dev.nacelle.agent.AgentLoops;
import dev.nacelle.agent.Workload;
import dev.nacelle.engine.Sources.BootKernel;
import dev.nacelle.engine.Sources.RootImage;
import dev.nacelle.image.store.ResolvedImage;
import dev.nacelle.net.HostNetwork;
import dev.nacelle.seccomp.SeccompFilters;
import dev.nacelle.spi.DiskFormat;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import dev.nacelle.spi.VmSpec.Disk;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * One attempt to start a sandbox: straight-line code on a worker thread, which waits for what
 * happens elsewhere and races all of it against {@link #abort}.
 */
final class SandboxStart {
  private static final String ROOT_DISK = "rootfs";
  private static final String SCRATCH_DISK = "scratch";
  private static final int ENTROPY_BYTES = 64;

  /** About what the guest's agent has open, to which no limit applies, but which counts. */
  private static final int AGENTS_FILES = 128;

  /** How long a machine that broke its connection may take to say why. */
  private static final long LAST_WORDS_SECONDS = 2;

  private final Hypervisor hypervisor;
  private final LinuxSupport linux;
  private final Sources sources;
  private final Path scratchDirectory;
  private final AgentLoops loops;
  private final Networks networks;
  private final Workers workers;
  private final SecureRandom random;
  private final SandboxSpec spec;
  private final SandboxEvents events;
  private final String name;
  private final StageClock clock;
  private final Consumer<RunningSandbox> onEnd;

  private final CompletableFuture<Void> aborted = new CompletableFuture<>();
  private final CompletableFuture<GuestConnection> dialled = new CompletableFuture<>();
  private final List<Future<?>> tasks = new ArrayList<>();
  private CompletableFuture<RootImage> rootImage = new CompletableFuture<>();
  private CompletableFuture<DataDisks> dataDisks = new CompletableFuture<>();
  private @Nullable Future<?> timer;
  private CompletableFuture<BootKernel> bootKernel = new CompletableFuture<>();
  private volatile @Nullable VirtualMachine vm;
  private @Nullable ScratchDisk scratch;
  private @Nullable HostNetwork network;
  private volatile long dialledAt;

  /** A client, and the call whose answer says that the guest is ready. */
  private record FirstCall(AgentClient client, CompletableFuture<AgentInfo> answer) {}

  /** A machine, and how its guest finds its disks: the image's, the writable one, those of data. */
  private record Created(VirtualMachine machine, List<GuestDisk> disks) {}

  SandboxStart(
      Hypervisor hypervisor,
      LinuxSupport linux,
      Sources sources,
      Path scratchDirectory,
      AgentLoops loops,
      Networks networks,
      Workers workers,
      SecureRandom random,
      SandboxSpec spec,
      SandboxEvents events,
      Consumer<RunningSandbox> onEnd) {
    this.hypervisor = hypervisor;
    this.linux = linux;
    this.sources = sources;
    this.scratchDirectory = scratchDirectory;
    this.loops = loops;
    this.networks = networks;
    this.workers = workers;
    this.random = random;
    this.spec = spec;
    this.events = events;
    this.onEnd = onEnd;
    name = events.name();
    clock = new StageClock(events);
  }

  /**
   * Makes {@link #run} fail with this cause, soon and wherever it is. Does not block; of no effect
   * when it was called before, or after the end.
   */
  void abort(Throwable cause) {
    if (aborted.completeExceptionally(cause)) {
      List<Future<?>> running;
      synchronized (tasks) {
        running = List.copyOf(tasks);
      }
      running.forEach(task -> task.cancel(true));
    }
  }

  /** Starts the sandbox, which is yet to be watched. When it fails, nothing is left of it. */
  RunningSandbox run() {
    limit(spec.fetchTimeout(), this::notAtHand);
    // The client is made, and its first call waits for the guest, while the machine is being set
    // up: loading gRPC's classes takes longer than that.
    CompletableFuture<FirstCall> firstCall =
        CompletableFuture.supplyAsync(
            () -> {
              AgentClient client = loops.client(dialled);
              try {
                return new FirstCall(client, client.getInfo());
              } catch (Throwable e) {
                client.close();
                throw e;
              }
            },
            workers);
    try {
      return boot(firstCall);
    } catch (Throwable e) {
      // What still runs on other threads is of no use any more.
      abort(e);
      RuntimeException explained = explain(e);
      releaseAll(firstCall);
      throw explained;
    } finally {
      stopTimer();
      dialled.cancel(false);
    }
  }

  /** From now on there is that much time, whatever there was before. */
  private void limit(Duration time, Supplier<BootException> tooLate) {
    stopTimer();
    timer = loops.schedule(() -> abort(tooLate.get()), time);
  }

  private void stopTimer() {
    Future<?> running = timer;
    if (running != null) {
      running.cancel(false);
    }
  }

  /** Each, whatever became of the others. */
  private void releaseAll(CompletableFuture<FirstCall> firstCall) {
    FirstCall call = firstCall.exceptionally(failure -> null).join();
    try (ScratchDisk disk = scratch;
        VirtualMachine machine = vm;
        HostNetwork open = network;
        GuestConnection connection = dialled.exceptionally(gone -> null).getNow(null);
        AgentClient client = call == null ? null : call.client()) {
      // Also when it is found later than that.
      var unused = rootImage.thenAccept(RootImage::close);
      var unusedToo = bootKernel.thenAccept(BootKernel::close);
      var unusedDisks = dataDisks.thenAccept(DataDisks::close);
    }
  }

  private RunningSandbox boot(CompletableFuture<FirstCall> firstCall) throws Exception {
    CompletableFuture<RootImage> image =
        background(() -> clock.time(Stage.IMAGE, () -> sources.image(spec)));
    rootImage = image;
    CompletableFuture<BootKernel> found =
        background(() -> clock.time(Stage.KERNEL, () -> sources.kernel(spec, linux.drivers())));
    bootKernel = found;
    CompletableFuture<DataDisks> disks = background(this::makeDataDisks);
    dataDisks = disks;
    await(background(Executors.callable(linux::require)));
    BootKernel kernel = await(found);
    Path initramfs = await(background(() -> clock.time(Stage.INITRAMFS, kernel.initramfs())));
    RootImage leased = await(image);
    DataDisks data = await(disks);
    limit(spec.startTimeout(), this::notReady);
    ResolvedImage root = leased.image();
    SeccompFilters filters = new SeccompFilters(kernel.release(), kernel.hasBuiltIn());
    ProcessPlan plan = new ProcessPlan(spec, root.config(), filters);
    plan.checkImage();
    Created created =
        clock.time(
            Stage.CREATE,
            () -> {
              if (!spec.network().isNone()) {
                network = networks.open(events.id(), name, spec);
              }
              return create(kernel, initramfs, root, data);
            });
    VirtualMachine machine = created.machine();
    vm = machine;
    AgentInfo agent =
        clock.time(
            Stage.BOOT,
            () -> {
              var unusedExit = machine.exit().thenAccept(how -> abort(died(machine, how)));
              // Nobody else is to dial: what comes later can only be the workload.
              try (var unusedListener = machine.listen(AgentClient.PORT, this::accept)) {
                machine.start();
                return await(firstCall.thenCompose(FirstCall::answer));
              }
            });
    AgentClient client = firstCall.join().client();
    List<AgentClient.Step> steps =
        clock.time(Stage.PREPARE, () -> prepare(client, machine, workload(created)));
    noteParts(machine, agent, steps);
    RunningSandbox sandbox =
        new RunningSandbox(
            events,
            spec,
            info(kernel, root, agent),
            clock.timeline(),
            plan,
            machine,
            client,
            workers,
            inUse(leased, kernel, data),
            network,
            onEnd);
    if (!aborted.complete(null)) {
      await(aborted);
    }
    return sandbox;
  }

  /** The agent connects the network meanwhile; who connects to that port later is the workload. */
  private List<AgentClient.Step> prepare(
      AgentClient client, VirtualMachine machine, Workload workload) throws Exception {
    HostNetwork opened = network;
    if (opened == null) {
      return await(client.prepare(workload, Pauses.realtime(), entropy()));
    }
    CompletableFuture<Void> connected = new CompletableFuture<>();
    try (var unusedListener =
        machine.listen(
            HostNetwork.PORT,
            connection -> {
              try {
                opened.accept(connection);
                connected.complete(null);
              } catch (UncheckedIOException e) {
                connected.completeExceptionally(e);
              }
            })) {
      List<AgentClient.Step> steps = await(client.prepare(workload, Pauses.realtime(), entropy()));
      // The guest may know of it before the host does.
      await(connected);
      return steps;
    }
  }

  private DataDisks makeDataDisks() throws IOException {
    long start = System.nanoTime();
    DataDisks made = DataDisks.make(spec.dataDisks(), scratchDirectory, hypervisor.diskFormat());
    if (!spec.dataDisks().isEmpty()) {
      Duration took = Duration.ofNanos(System.nanoTime() - start);
      clock.add(Entry.of(Stage.IMAGE, "data disks", Duration.ofNanos(start - clock.call()), took));
    }
    return made;
  }

  private Created create(BootKernel kernel, Path initramfs, ResolvedImage root, DataDisks data) {
    List<Disk> disks = new ArrayList<>();
    disks.add(Disk.of(ROOT_DISK, root.filesystem(), true));
    DiskFormat format = hypervisor.diskFormat();
    ScratchDisk disk = null;
    if (writesToDisk()) {
      DataSize size = spec.writableLayer().size().orElseThrow();
      disk = ScratchDisk.create(scratchDirectory, size, format);
      scratch = disk;
      disks.add(Disk.of(SCRATCH_DISK, disk.file(), false));
    }
    disks.addAll(data.disks());
    Created created = create(kernel, initramfs, disks);
    if (!format.needsName()) {
      data.close();
      if (disk != null) {
        disk.close();
      }
    }
    return created;
  }

  /** What the sandbox gives back when it is closed, after its machine. */
  private RootImage inUse(RootImage leased, BootKernel kernel, DataDisks data) {
    RootImage all = leased.with(kernel::close).with(data::close);
    ScratchDisk disk = scratch;
    return disk == null ? all : all.with(disk::close);
  }

  private Created create(BootKernel kernel, Path initramfs, List<Disk> disks) {
    try {
      VmSpec.Builder builder =
          VmSpec.builder(
                  name,
                  VmSpec.Linux.builder(kernel.vmlinux())
                      .initramfs(initramfs)
                      .parameters(BootParameters.of(spec))
                      .memoryPolicy(spec.memoryPolicy())
                      .paravirtualClock(linux.keepsTimeWithoutAChip(kernel.hasBuiltIn()))
                      .build(),
                  spec.memory())
              .cpus(spec.cpus())
              .disks(disks)
              .rateLimits(spec.rateLimits())
              .coreScheduling(spec.coreScheduling())
              .niceness(spec.niceness());
      spec.cpuQuota().ifPresent(builder::cpuQuota);
      VmSpec machine = builder.build();
      List<GuestDisk> found = hypervisor.guestDisks(machine);
      return new Created(hypervisor.create(machine), found);
    } catch (IllegalArgumentException e) {
      throw new HypervisorException(Stage.CREATE, String.valueOf(e.getMessage()), null, e);
    }
  }

  /** The first connection is the agent's; there is no second one. */
  private void accept(GuestConnection connection) {
    // Before the agent is spoken to, so before it answers.
    if (!dialled.isDone()) {
      dialledAt = System.nanoTime();
    }
    if (!dialled.complete(connection)) {
      connection.close();
    }
  }

  private boolean writesToDisk() {
    return spec.writableLayer().kind() == WritableLayer.Kind.DISK;
  }

  private Workload workload(Created created) {
    HostNetwork opened = network;
    return new Workload(
        created.disks().get(0),
        writesToDisk() ? created.disks().get(1) : null,
        writesToDisk() ? 0 : spec.writableLayer().size().map(DataSize::bytes).orElse(0L),
        spec.sharedMemory().map(DataSize::bytes).orElse(0L),
        spec.hostname().orElse(name),
        spec.pidsLimit().orElse(0L),
        sysctls(),
        spec.container(),
        dataDisks(created),
        opened == null ? null : new Workload.Network(opened.ipv6()));
  }

  /** As the guest mounts them: those that come last. */
  private List<Workload.DataDisk> dataDisks(Created created) {
    List<Workload.DataDisk> disks = new ArrayList<>();
    int next = created.disks().size() - spec.dataDisks().size();
    for (Map.Entry<String, DataDisk> disk : spec.dataDisks().entrySet()) {
      DataDisk wanted = disk.getValue();
      disks.add(
          new Workload.DataDisk(
              created.disks().get(next++),
              disk.getKey(),
              wanted.isReadOnly(),
              wanted.kind() == DataDisk.Kind.IMAGE));
    }
    return disks;
  }

  /** With the limit of open files, unless that is set as a sysctl. */
  private Map<String, String> sysctls() {
    if (spec.openFilesLimit().isEmpty()) {
      return spec.sysctls();
    }
    Map<String, String> sysctls = new LinkedHashMap<>();
    sysctls.put("fs.file-max", Long.toString(spec.openFilesLimit().getAsLong() + AGENTS_FILES));
    sysctls.putAll(spec.sysctls());
    return sysctls;
  }

  private byte[] entropy() {
    byte[] bytes = new byte[ENTROPY_BYTES];
    random.nextBytes(bytes);
    return bytes;
  }

  private SandboxInfo info(BootKernel kernel, ResolvedImage root, AgentInfo agent) {
    return SandboxInfo.builder(name, spec.image(), root.digest(), kernel.ref())
        .labels(spec.labels())
        .imageConfig(root.config())
        .booted(kernel.release(), kernel.version())
        .uname(agent.kernelRelease(), agent.kernelVersion(), agent.kernelMachine())
        .agentVersion(agent.agentVersion())
        .memory(DataSize.bytes(agent.memoryBytes()))
        .cpus(agent.cpus())
        .build();
  }

  private void noteParts(VirtualMachine machine, AgentInfo agent, List<AgentClient.Step> steps) {
    Entry boot = clock.stage(Stage.BOOT);
    long call = clock.call();
    long answered = call + boot.start().plus(boot.duration()).toNanos();
    machine
        .statistics()
        .firstRunNanoTime()
        .ifPresent(
            entry -> GuestMarks.boot(call, entry, dialledAt, answered, agent).forEach(clock::add));
    GuestMarks.prepare(clock.stage(Stage.PREPARE), steps).forEach(clock::add);
  }

  /** Runs something on another thread, where {@link #abort} interrupts it. */
  private <T> CompletableFuture<T> background(Callable<T> work) {
    CompletableFuture<T> outcome = new CompletableFuture<>();
    synchronized (tasks) {
      if (!aborted.isDone()) {
        tasks.add(
            workers.submit(
                () -> {
                  try {
                    outcome.complete(work.call());
                  } catch (Throwable e) {
                    outcome.completeExceptionally(e);
                  }
                }));
      }
    }
    return outcome;
  }

  /** Waits for this, or for {@link #abort}. */
  private <T> T await(CompletableFuture<T> future) throws Exception {
    try {
      CompletableFuture.anyOf(future, aborted).get();
      return future.get();
    } catch (ExecutionException e) {
      Throwable cause = Failures.cause(e);
      throw cause instanceof Exception exception ? exception : e;
    }
  }

  private BootException notAtHand() {
    Stage stage = clock.current();
    return new BootException(
        stage,
        "What the sandbox "
            + name
            + " is made of was not at hand within "
            + spec.fetchTimeout()
            + "; it got as far as "
            + stage,
        "Give it more time to fetch, for the first use of an image or a kernel takes longest; or"
            + " prepare it beforehand.",
        null,
        "",
        true,
        null);
  }

  private BootException notReady() {
    VirtualMachine machine = vm;
    String console = machine == null ? "" : machine.console().tail();
    Stage stage = clock.current();
    return new BootException(
        stage,
        "The sandbox "
            + name
            + " was not ready within "
            + spec.startTimeout()
            + "; it got as far as "
            + stage
            + (machine == null ? "" : Failures.asMessagePart(console)),
        machine == null ? "Give it more time to start." : Failures.bootRemedy(spec, console),
        null,
        console,
        true,
        null);
  }

  private BootException died(VirtualMachine machine, VmExit how) {
    String console = machine.console().tail();
    return new BootException(
        clock.current(),
        "The guest of the sandbox "
            + name
            + " ended before it was ready ("
            + how.reason()
            + ": "
            + how.detail()
            + ")"
            + Failures.asMessagePart(console),
        Failures.bootRemedy(spec, console),
        how,
        console,
        false,
        null);
  }

  private RuntimeException explain(Throwable failure) {
    Throwable cause = Failures.cause(failure);
    if (cause instanceof AgentException e) {
      return explain(e);
    }
    if (cause instanceof NacelleException || cause instanceof CancellationException) {
      return (RuntimeException) cause;
    }
    if (cause instanceof InterruptedException e) {
      return new InterruptedOperationException(clock.current(), "interrupted while starting", e);
    }
    return new NacelleException(
        clock.current(), "The sandbox " + name + " could not be started: " + cause, null, cause);
  }

  /** The connection broke, or the agent refused; why the connection broke, the machine may know. */
  private RuntimeException explain(AgentException failure) {
    VirtualMachine machine = vm;
    if (machine != null && failure.kind() == AgentException.Kind.DISCONNECTED) {
      try {
        VmExit how = machine.exit().get(LAST_WORDS_SECONDS, TimeUnit.SECONDS);
        if (how.reason() != VmExit.Reason.CLOSED) {
          return died(machine, how);
        }
      } catch (InterruptedException | ExecutionException | TimeoutException e) {
        // Then it stays unknown.
      }
    }
    String console = machine == null ? "" : machine.console().tail();
    return new BootException(
        clock.current(),
        "The guest agent of the sandbox "
            + name
            + " failed: "
            + failure.getMessage()
            + Failures.asMessagePart(console),
        null,
        null,
        console,
        false,
        failure);
  }
}
