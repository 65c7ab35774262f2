// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.agent.AgentLoops;
import dev.nacelle.image.PrunePolicy;
import dev.nacelle.image.PruneResult;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.internal.CacheDirectory;
import dev.nacelle.kernel.KernelLock;
import dev.nacelle.spi.HostCheck;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorException;
import dev.nacelle.spi.HypervisorProvider;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/**
 * The runtime: a hypervisor, caches of images and kernels, and the threads that serve sandboxes.
 * Made once, shared, and closed at the end. Safe for use from several threads.
 *
 * <p>All of its threads are daemon threads and end with {@link #close()}. It installs no shutdown
 * hook: virtual machines end with the process anyway.
 */
public final class Nacelle implements AutoCloseable {
  private final Hypervisor hypervisor;
  private final LinuxSupport linux;
  private final Sources sources;
  private final Path scratchDirectory;
  private final SandboxListener listener;
  private final AgentLoops loops;
  private final Workers workers = new Workers();
  private final SecureRandom random = new SecureRandom();
  private final Set<SandboxStart> starting = new HashSet<>();
  private final Set<RunningSandbox> running = new HashSet<>();
  private final Set<RunningUnikernel> unikernels = new HashSet<>();
  private final CompletableFuture<Void> closed = new CompletableFuture<>();
  private boolean closing;

  private Nacelle(Builder builder, HypervisorProvider provider, Hypervisor hypervisor) {
    this.hypervisor = hypervisor;
    this.linux = new LinuxSupport(provider);
    this.sources = builder.sources();
    this.scratchDirectory = builder.scratchDirectory();
    this.listener = builder.listener;
    this.loops = new AgentLoops(builder.ioThreads);
  }

  /**
   * A runtime with every default.
   *
   * @throws HypervisorUnavailableException when this host cannot run virtual machines, with what is
   *     wrong and how to mend it
   */
  public static Nacelle create() {
    return builder().build();
  }

  /** To make a runtime with other than the defaults. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Finds out what this host can do, for each hypervisor on the class path or module path. Takes
   * milliseconds and leaves nothing behind. Empty when there is no hypervisor.
   */
  public static List<HostCheck> checkHost() {
    return providers().stream().map(HypervisorProvider::check).toList();
  }

  /** Nacelle's own class loader rather than the thread's: hypervisors are deployed with it. */
  private static List<HypervisorProvider> providers() {
    return ServiceLoader.load(HypervisorProvider.class, Nacelle.class.getClassLoader()).stream()
        .map(ServiceLoader.Provider::get)
        .toList();
  }

  /**
   * Starts a sandbox and returns when it is ready.
   *
   * @throws HypervisorUnavailableException when this host's hypervisor cannot run Linux kernels as
   *     they are, with what it is that it cannot do; found out with the first sandbox
   * @throws dev.nacelle.image.ImageException when the image cannot be had
   * @throws dev.nacelle.kernel.KernelException when the kernel cannot be had, or cannot be used
   * @throws HypervisorException when no machine can be made as specified
   * @throws BootException when the guest died, or was not ready in {@linkplain
   *     SandboxSpec#timeout() time}
   * @throws InterruptedOperationException when the thread is interrupted; what there is of it is
   *     being released then
   * @throws NacelleException when this runtime is closed meanwhile
   * @throws IllegalStateException when this runtime is closed
   */
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

  /**
   * As {@link #start}, without waiting. Cancelling the future gives the attempt up, and so does
   * completing it in any other way, as {@link CompletableFuture#orTimeout} does.
   *
   * @return completes on a thread of this runtime's, where dependents may block
   * @throws IllegalStateException when this runtime is closed
   */
  public CompletableFuture<Sandbox> startAsync(SandboxSpec spec) {
    String name = spec.name().orElseGet(() -> madeUpName("sandbox-"));
    SandboxStart start =
        new SandboxStart(
            hypervisor,
            linux,
            sources,
            scratchDirectory,
            loops,
            workers,
            random,
            spec,
            name,
            listener,
            this::onEnd);
    CompletableFuture<Sandbox> result = new CompletableFuture<>();
    synchronized (this) {
      requireOpen();
      workers.execute(() -> run(start, result));
      // It cannot come to its end before this lock is left.
      starting.add(start);
    }
    // Of no effect when the start itself completed it.
    var unused =
        result.whenComplete(
            (sandbox, failure) ->
                start.abort(new CancellationException("the start was cancelled")));
    return result;
  }

  private void run(SandboxStart start, CompletableFuture<Sandbox> result) {
    RunningSandbox sandbox = null;
    Throwable failure = null;
    try {
      sandbox = start.run();
    } catch (Throwable e) {
      failure = e;
    }
    if (sandbox != null && !keep(sandbox)) {
      sandbox.close();
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

  private void onEnd(RunningSandbox sandbox) {
    synchronized (this) {
      running.remove(sandbox);
    }
    var unused =
        sandbox
            .onExit()
            .thenAccept(
                exit ->
                    Quietly.run(
                        "a sandbox listener",
                        () -> listener.sandboxEnded(sandbox.info().name(), exit)));
  }

  /**
   * Starts a program that is its own operating system, and returns when its machine runs.
   *
   * @throws HypervisorException when no machine can be made as specified, or the image is none
   * @throws IllegalStateException when this runtime is closed
   */
  public Unikernel start(UnikernelSpec spec) {
    String name = spec.name().orElseGet(() -> madeUpName("unikernel-"));
    synchronized (this) {
      requireOpen();
    }
    VirtualMachine machine;
    try {
      machine =
          hypervisor.create(
              new VmSpec(
                  name,
                  new VmSpec.Bare(spec.image(), spec.commandLine()),
                  spec.memory().bytes(),
                  spec.cpus(),
                  List.of(),
                  VmSpec.DEFAULT_CONSOLE_BYTES,
                  spec.rateLimits(),
                  spec.coreScheduling()));
    } catch (IllegalArgumentException e) {
      throw new HypervisorException(Stage.CREATE, String.valueOf(e.getMessage()), null, e);
    }
    RunningUnikernel unikernel = new RunningUnikernel(spec, name, machine, workers, this::onEnd);
    synchronized (this) {
      if (!closing) {
        unikernels.add(unikernel);
        try {
          unikernel.start(loops);
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

  /**
   * Removes images that nobody uses from the cache directory: what was not used for long, or what
   * there is too much of. The image of a running sandbox stays, also of another process's. Kernels
   * stay.
   *
   * @throws dev.nacelle.image.ImageException when the cache directory cannot be written to
   */
  public PruneResult pruneImages(PrunePolicy policy) {
    return sources.prune(policy);
  }

  private String madeUpName(String prefix) {
    return prefix + Integer.toHexString(random.nextInt() | 0x8000_0000);
  }

  private void requireOpen() {
    if (closing) {
      throw new IllegalStateException("this Nacelle is closed");
    }
  }

  /**
   * Closes every sandbox, gives up those that are starting, and releases everything. Returns when
   * nothing is left, which includes what was attached to this runtime's futures and still runs;
   * when it is called from there, it does not wait for that. Idempotent; every caller waits. Does
   * not throw.
   */
  @Override
  public void close() {
    List<Runnable> closes;
    synchronized (this) {
      if (closing) {
        closes = null;
      } else {
        closing = true;
        closes = new ArrayList<>();
        running.forEach(sandbox -> closes.add(sandbox::close));
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
    Quietly.run("ending the I/O threads", loops::close);
    Quietly.run("ending the worker threads", workers::close);
    closed.complete(null);
  }

  /** At once: each may take its grace. */
  private void closeAll(List<Runnable> closes) {
    List<CompletableFuture<Void>> ends =
        closes.stream().map(close -> CompletableFuture.runAsync(close, workers)).toList();
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

  /** Makes a {@link Nacelle}. Not safe for use from several threads. */
  public static final class Builder {
    private @Nullable Path cacheDirectory;
    private @Nullable Path scratchDirectory;
    private @Nullable String hypervisorName;
    private @Nullable HypervisorProvider provider;
    private @Nullable Sources sources;
    private RegistryOptions registries = RegistryOptions.defaults();
    private PullPolicy pullPolicy = PullPolicy.MISSING;
    private @Nullable KernelLock kernelLock;
    private SandboxListener listener = new SandboxListener() {};
    private int ioThreads = Math.min(2, Runtime.getRuntime().availableProcessors());

    private Builder() {}

    /**
     * Where images and kernels are kept; the directory is created when absent, and may be shared by
     * several processes. The default is {@code nacelle} below {@code $XDG_CACHE_HOME}, or below
     * {@code ~/.cache}.
     */
    public Builder cacheDirectory(Path directory) {
      this.cacheDirectory = Objects.requireNonNull(directory);
      return this;
    }

    /**
     * Where the {@linkplain SandboxSpec.Builder#disk disks} of sandboxes are; the directory is
     * created when absent, and may be shared by several processes. It should be on a file system
     * that has sparse files, and not in memory. The default is {@code scratch} in the cache
     * directory.
     */
    public Builder scratchDirectory(Path directory) {
      this.scratchDirectory = Objects.requireNonNull(directory);
      return this;
    }

    /**
     * Uses the hypervisor of that name, such as {@code "kvm"}; the default is the first that works.
     */
    public Builder hypervisor(String name) {
      this.hypervisorName = Objects.requireNonNull(name);
      return this;
    }

    /** Uses this hypervisor, without looking for others. */
    public Builder hypervisor(HypervisorProvider provider) {
      this.provider = Objects.requireNonNull(provider);
      return this;
    }

    /** Talks to registries of images in this way; {@link RegistryOptions} says the defaults. */
    public Builder registries(RegistryOptions options) {
      this.registries = Objects.requireNonNull(options);
      return this;
    }

    /** When registries are asked, where a sandbox does not say; the default is MISSING. */
    public Builder pullPolicy(PullPolicy policy) {
      this.pullPolicy = Objects.requireNonNull(policy);
      return this;
    }

    /**
     * Has a lock file say which kernels names such as {@code debian:6.12} stand for, so that all
     * machines with that file boot the same bytes. Names it does not know are resolved and added;
     * as {@link #kernelLock(Path, KernelLock.Mode)} with {@link KernelLock.Mode#ADD}.
     */
    public Builder kernelLock(Path file) {
      return kernelLock(file, KernelLock.Mode.ADD);
    }

    /**
     * Has a lock file say which kernels names stand for; {@link KernelLock} describes it. The
     * default is none: a name stands for whatever it does at the moment. With {@link #prepare} and
     * {@link KernelLock.Mode#UPDATE} a name in the file is brought up to date.
     */
    public Builder kernelLock(Path file, KernelLock.Mode mode) {
      this.kernelLock = new KernelLock(file, mode);
      return this;
    }

    /** Tells this listener of every sandbox. */
    public Builder listener(SandboxListener listener) {
      this.listener = Objects.requireNonNull(listener);
      return this;
    }

    /**
     * How many threads carry the traffic with guests; the default is 2, or 1 on a host with a
     * single processor.
     *
     * @throws IllegalArgumentException when it is not between 1 and 64
     */
    public Builder ioThreads(int number) {
      if (number < 1 || number > 64) {
        throw new IllegalArgumentException("1 to 64 I/O threads, not " + number);
      }
      this.ioThreads = number;
      return this;
    }

    Builder sources(Sources other) {
      this.sources = other;
      return this;
    }

    /**
     * Opens the hypervisor.
     *
     * @throws HypervisorUnavailableException when this host cannot run virtual machines, with what
     *     is wrong and how to mend it
     */
    public Nacelle build() {
      return open();
    }

    /**
     * Fills the cache directory with all that starting such a sandbox takes: the image, the kernel
     * and its initramfs. Needs no hypervisor, so it can be done where services are built or
     * installed; the first start is then as quick as any other. Of what is there already, nothing
     * is done again.
     *
     * @throws dev.nacelle.image.ImageException when the image cannot be had
     * @throws dev.nacelle.kernel.KernelException when the kernel cannot be had, or cannot be used
     */
    public void prepare(SandboxSpec spec) {
      try {
        sources().prepare(spec);
      } catch (RuntimeException e) {
        throw e;
      } catch (Exception e) {
        throw new NacelleException(Stage.IMAGE, "Cannot prepare " + spec + ": " + e, null, e);
      }
    }

    /**
     * Removes images that nobody uses from the cache directory, as {@link Nacelle#pruneImages} does
     * it. Needs no hypervisor.
     *
     * @throws dev.nacelle.image.ImageException when the cache directory cannot be written to
     */
    public PruneResult pruneImages(PrunePolicy policy) {
      return sources().prune(policy);
    }

    private Sources sources() {
      return sources != null
          ? sources
          : new StoredSources(cacheDirectory(), registries, pullPolicy, kernelLock);
    }

    private Path scratchDirectory() {
      return scratchDirectory != null ? scratchDirectory : cacheDirectory().resolve("scratch");
    }

    private Path cacheDirectory() {
      return cacheDirectory != null ? cacheDirectory : CacheDirectory.ofThisUser();
    }

    private Nacelle open() {
      List<HypervisorProvider> candidates = candidates();
      List<HostCheck> checks = new ArrayList<>();
      HypervisorException first = null;
      for (HypervisorProvider candidate : candidates) {
        try {
          return new Nacelle(this, candidate, candidate.open());
        } catch (HypervisorException e) {
          checks.add(candidate.check());
          first = first == null ? e : first;
        }
      }
      throw HypervisorUnavailableException.of(checks, first);
    }

    private List<HypervisorProvider> candidates() {
      if (provider != null) {
        return List.of(provider);
      }
      List<HypervisorProvider> found = providers();
      String wanted = hypervisorName;
      if (wanted == null) {
        return found;
      }
      List<HypervisorProvider> named =
          found.stream().filter(candidate -> candidate.name().equals(wanted)).toList();
      if (named.isEmpty()) {
        throw new HypervisorUnavailableException(
            "There is no hypervisor '"
                + wanted
                + "' on the class path, only "
                + found.stream().map(HypervisorProvider::name).toList(),
            "Choose another, or add the dependency that brings it.",
            List.of(),
            null);
      }
      return named;
    }
  }
}
