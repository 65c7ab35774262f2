// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.CapacityException;
import dev.nacelle.DataDisk;
import dev.nacelle.HypervisorException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.PreparedSandbox;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxListener;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.Unikernel;
import dev.nacelle.UnikernelSpec;
import dev.nacelle.agent.AgentLoops;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** The runtime: starts what is asked for, knows what runs, and ends all of it. */
final class Engine implements Nacelle {
  private static final String CLOSED_WITH_NACELLE = "was closed with its Nacelle";

  private final Hypervisor hypervisor;
  private final LinuxSupport linux;
  private final Sources sources;
  private final Path scratchDirectory;
  private final List<SandboxEvents.Guarded> listeners;
  private final AgentLoops loops;
  private final Capacity capacity;
  private final Workers workers;
  private final Networks networks;
  private final SecureRandom random = new SecureRandom();
  private final Set<SandboxStart> starting = new HashSet<>();
  private final Set<RunningSandbox> running = new LinkedHashSet<>();
  private final Set<RunningUnikernel> unikernels = new HashSet<>();
  private final CompletableFuture<Void> closed = new CompletableFuture<>();
  private boolean closing;

  /**
   * @param hypervisor closed with this runtime
   * @param loops likewise
   * @param nameServers empty for those of the host
   */
  Engine(
      Hypervisor hypervisor,
      LinuxSupport linux,
      Sources sources,
      Path scratchDirectory,
      List<SandboxListener> listeners,
      AgentLoops loops,
      List<InetSocketAddress> nameServers,
      Capacity capacity) {
    this.hypervisor = hypervisor;
    this.linux = linux;
    this.sources = sources;
    this.scratchDirectory = scratchDirectory;
    this.listeners = listeners.stream().map(SandboxEvents.Guarded::new).toList();
    this.loops = loops;
    workers = new Workers(loops::schedule);
    networks = new Networks(nameServers, workers::executePatiently);
    this.capacity = capacity;
  }

  @Override
  public Sandbox start(SandboxSpec spec) {
    CompletableFuture<Sandbox> future = startAsync(spec);
    try {
      return future.get();
    } catch (InterruptedException e) {
      future.cancel(true);
      Thread.currentThread().interrupt();
      throw new InterruptedOperationException(Stage.BOOT, "interrupted while starting " + spec, e);
    } catch (ExecutionException e) {
      Throwable cause = Failures.cause(e);
      // Made on another thread: this one's stack belongs to it, too.
      cause.addSuppressed(new StartedHere());
      throw cause instanceof RuntimeException unchecked
          ? unchecked
          : new NacelleException(Stage.BOOT, String.valueOf(cause), null, cause);
    }
  }

  /** Says where the caller of {@link #start} was. */
  private static final class StartedHere extends Exception {
    private static final long serialVersionUID = 1L;

    StartedHere() {
      super("the sandbox was started here");
    }
  }

  @Override
  public CompletableFuture<Sandbox> startAsync(SandboxSpec spec) {
    SandboxEvents events =
        new SandboxEvents(
            UUID.randomUUID().toString(),
            spec.name().orElseGet(() -> madeUpName("sandbox-")),
            listeners);
    synchronized (this) {
      requireOpen();
    }
    Capacity.Place place;
    try {
      place = capacity.take("the sandbox " + events.name(), spec.memory());
    } catch (CapacityException e) {
      return CompletableFuture.failedFuture(e);
    }
    SandboxStart start =
        new SandboxStart(
            hypervisor,
            linux,
            sources,
            scratchDirectory,
            loops,
            networks,
            workers,
            random,
            spec,
            events,
            sandbox -> {
              place.close();
              onEnd(sandbox, events);
            });
    CompletableFuture<Sandbox> result = new CompletableFuture<>();
    boolean begun = false;
    try {
      synchronized (this) {
        requireOpen();
        workers.execute(() -> run(start, events, place, result));
        // It cannot come to its end before this lock is left.
        starting.add(start);
        begun = true;
      }
    } finally {
      if (!begun) {
        place.close();
      }
    }
    // Of no effect when the start itself completed it.
    var unused =
        result.whenComplete(
            (sandbox, failure) ->
                start.abort(new CancellationException("the start was cancelled")));
    return result;
  }

  private void run(
      SandboxStart start,
      SandboxEvents events,
      Capacity.Place place,
      CompletableFuture<Sandbox> result) {
    RunningSandbox sandbox = null;
    Throwable failure = null;
    try {
      sandbox = start.run();
      events.started();
    } catch (Throwable e) {
      failure = e;
      place.close();
      events.startFailed(e);
    }
    if (sandbox != null && !keep(sandbox)) {
      sandbox.close(CLOSED_WITH_NACELLE);
      failure = closedMeanwhile();
    }
    synchronized (this) {
      starting.remove(start);
      notifyAll();
    }
    // Dependents run in here, and may well close this runtime.
    if (failure != null) {
      result.completeExceptionally(failure);
    } else if (sandbox != null && !result.complete(sandbox)) {
      // Given up in the last moment.
      sandbox.close();
    }
  }

  private boolean keep(RunningSandbox sandbox) {
    synchronized (this) {
      if (closing) {
        return false;
      }
      running.add(sandbox);
    }
    // Not before, for it may be at its end.
    sandbox.watch(loops);
    return true;
  }

  private void onEnd(RunningSandbox sandbox, SandboxEvents events) {
    synchronized (this) {
      running.remove(sandbox);
    }
    var unused = sandbox.onExit().thenAccept(events::ended);
  }

  @Override
  public synchronized List<Sandbox> sandboxes() {
    return running.stream().filter(Sandbox::isAlive).<Sandbox>map(sandbox -> sandbox).toList();
  }

  @Override
  public Unikernel startUnikernel(UnikernelSpec spec) {
    String name = spec.name().orElseGet(() -> madeUpName("unikernel-"));
    synchronized (this) {
      requireOpen();
    }
    Capacity.Place place = capacity.take("the unikernel " + name, spec.memory());
    try {
      return startUnikernel(spec, name, place);
    } catch (Throwable e) {
      place.close();
      throw e;
    }
  }

  private Unikernel startUnikernel(UnikernelSpec spec, String name, Capacity.Place place) {
    VirtualMachine machine;
    try {
      machine =
          hypervisor.create(
              VmSpec.builder(name, VmSpec.Bare.of(spec.image(), spec.commandLine()), spec.memory())
                  .cpus(spec.cpus())
                  .rateLimits(spec.rateLimits())
                  .coreScheduling(spec.coreScheduling())
                  .build());
    } catch (IllegalArgumentException e) {
      throw new HypervisorException(Stage.CREATE, String.valueOf(e.getMessage()), null, e);
    }
    RunningUnikernel unikernel =
        new RunningUnikernel(
            spec,
            name,
            machine,
            loops.timers(),
            workers,
            ended -> {
              place.close();
              onEnd(ended);
            });
    synchronized (this) {
      if (!closing) {
        unikernels.add(unikernel);
        try {
          unikernel.start();
        } catch (Throwable e) {
          unikernel.close();
          throw e;
        }
        return unikernel;
      }
    }
    machine.close();
    throw closedMeanwhile();
  }

  private synchronized void onEnd(RunningUnikernel unikernel) {
    unikernels.remove(unikernel);
  }

  @Override
  public PruneResult pruneImages(PrunePolicy policy) {
    return sources.pruneImages(policy);
  }

  @Override
  public PruneResult pruneKernels(PrunePolicy policy) {
    return sources.pruneKernels(policy);
  }

  @Override
  public PreparedSandbox prepare(SandboxSpec spec) {
    synchronized (this) {
      requireOpen();
    }
    return prepare(sources, spec, linux.drivers());
  }

  @Override
  public DataDisk makeDisk(DataDisk disk, Path image) {
    synchronized (this) {
      requireOpen();
    }
    if (disk.kind() == DataDisk.Kind.IMAGE) {
      throw new IllegalArgumentException("that disk is an image already: " + disk);
    }
    DataDisks.make(disk, image);
    DataDisk made = DataDisk.image(image);
    return disk.isReadOnly() ? made.readOnly() : made;
  }

  /** Has those sources fetch and make what the sandbox takes, on the calling thread. */
  static PreparedSandbox prepare(Sources sources, SandboxSpec spec, List<GuestDriver> drivers) {
    try {
      return sources.prepare(spec, drivers);
    } catch (RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new NacelleException(Stage.IMAGE, "Cannot prepare " + spec + ": " + e, null, e);
    }
  }

  private String madeUpName(String prefix) {
    return prefix + Integer.toHexString(random.nextInt() | 0x8000_0000);
  }

  private void requireOpen() {
    if (closing) {
      throw new IllegalStateException("this Nacelle is closed");
    }
  }

  @Override
  public void close() {
    List<Runnable> closes;
    synchronized (this) {
      if (closing) {
        closes = null;
      } else {
        closing = true;
        closes = new ArrayList<>();
        running.forEach(sandbox -> closes.add(() -> sandbox.close(CLOSED_WITH_NACELLE)));
        unikernels.forEach(unikernel -> closes.add(unikernel::close));
        starting.forEach(start -> start.abort(closedMeanwhile()));
      }
    }
    if (closes == null) {
      if (!workers.isCurrent()) {
        closed.join();
      }
      return;
    }
    Quietly.run("closing what runs", () -> closeAll(closes));
    awaitStarts();
    Quietly.run("closing the hypervisor", hypervisor::close);
    Quietly.run("ending the networks' threads", networks::close);
    Quietly.run("ending the I/O threads", loops::close);
    Quietly.run("ending the worker threads", workers::close);
    closed.complete(null);
  }

  /** At once: each may take its grace. */
  private void closeAll(List<Runnable> closes) {
    List<CompletableFuture<Void>> ends =
        closes.stream()
            .map(close -> CompletableFuture.runAsync(close, workers::executeOrRun))
            .toList();
    ends.forEach(CompletableFuture::join);
  }

  private static NacelleException closedMeanwhile() {
    return new NacelleException(
        Stage.CLOSE, "Nacelle was closed while the machine was starting", null, null);
  }

  private synchronized void awaitStarts() {
    boolean interrupted = false;
    while (!starting.isEmpty()) {
      try {
        wait();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
