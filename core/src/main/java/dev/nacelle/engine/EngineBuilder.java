// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.DataSize;
import dev.nacelle.FetchListener;
import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import dev.nacelle.HypervisorUnavailableException;
import dev.nacelle.Nacelle;
import dev.nacelle.PreparedSandbox;
import dev.nacelle.PrunePolicy;
import dev.nacelle.PruneResult;
import dev.nacelle.SandboxListener;
import dev.nacelle.SandboxSpec;
import dev.nacelle.agent.AgentLoops;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.RegistryOptions;
import dev.nacelle.internal.CacheDirectory;
import dev.nacelle.kernel.KernelLockMode;
import dev.nacelle.kernel.store.KernelLock;
import dev.nacelle.spi.HypervisorProvider;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.ServiceLoader;
import org.jspecify.annotations.Nullable;

/** Makes an {@link Engine}; on the class path and the module path a service of this library. */
public final class EngineBuilder implements Nacelle.Builder {
  /** More would not be asked in time. */
  private static final int MAX_NAME_SERVERS = 3;

  private @Nullable Path cacheDirectory;
  private @Nullable Path scratchDirectory;
  private @Nullable String hypervisorName;
  private @Nullable HypervisorProvider provider;
  private @Nullable List<HypervisorProvider> found;
  private @Nullable Sources sources;
  private RegistryOptions registries = RegistryOptions.defaults();
  private PullPolicy pullPolicy = PullPolicy.MISSING;
  private @Nullable KernelLock kernelLock;
  private FetchListener fetchListener = progress -> {};
  private final List<SandboxListener> listeners = new ArrayList<>();
  private int maxSandboxes = Integer.MAX_VALUE;
  private @Nullable DataSize maxGuestMemory;
  private Duration silence = AgentLoops.SILENCE;
  private Duration signOfLife = AgentLoops.SIGN_OF_LIFE;
  private List<InetSocketAddress> nameServers = List.of();
  private int ioThreads = Math.min(2, Runtime.getRuntime().availableProcessors());

  /** Found by {@link Nacelle#builder()}. */
  public EngineBuilder() {}

  @Override
  public EngineBuilder cacheDirectory(Path directory) {
    this.cacheDirectory = Objects.requireNonNull(directory);
    return this;
  }

  @Override
  public EngineBuilder scratchDirectory(Path directory) {
    this.scratchDirectory = Objects.requireNonNull(directory);
    return this;
  }

  @Override
  public EngineBuilder hypervisor(String name) {
    this.hypervisorName = Objects.requireNonNull(name);
    return this;
  }

  /** Uses this hypervisor, without looking for others. */
  public EngineBuilder hypervisor(HypervisorProvider provider) {
    this.provider = Objects.requireNonNull(provider);
    return this;
  }

  @Override
  public EngineBuilder registries(RegistryOptions options) {
    this.registries = Objects.requireNonNull(options);
    return this;
  }

  @Override
  public EngineBuilder pullPolicy(PullPolicy policy) {
    this.pullPolicy = Objects.requireNonNull(policy);
    return this;
  }

  @Override
  public EngineBuilder kernelLock(Path file) {
    return kernelLock(file, KernelLockMode.ADD);
  }

  @Override
  public EngineBuilder kernelLock(Path file, KernelLockMode mode) {
    this.kernelLock = new KernelLock(file, mode);
    return this;
  }

  @Override
  public EngineBuilder fetchListener(FetchListener listener) {
    this.fetchListener = Objects.requireNonNull(listener);
    return this;
  }

  @Override
  public EngineBuilder listener(SandboxListener listener) {
    listeners.add(Objects.requireNonNull(listener));
    return this;
  }

  @Override
  public EngineBuilder maxSandboxes(int number) {
    if (number < 1) {
      throw new IllegalArgumentException("at least one sandbox, not " + number);
    }
    this.maxSandboxes = number;
    return this;
  }

  @Override
  public EngineBuilder maxGuestMemory(DataSize memory) {
    if (memory.bytes() == 0) {
      throw new IllegalArgumentException("no memory is enough for no guest");
    }
    this.maxGuestMemory = memory;
    return this;
  }

  @Override
  public EngineBuilder ioThreads(int number) {
    if (number < 1 || number > 64) {
      throw new IllegalArgumentException("1 to 64 I/O threads, not " + number);
    }
    this.ioThreads = number;
    return this;
  }

  @Override
  public EngineBuilder nameServers(List<InetSocketAddress> servers) {
    List<InetSocketAddress> copy = List.copyOf(servers);
    if (copy.isEmpty() || copy.size() > MAX_NAME_SERVERS) {
      throw new IllegalArgumentException(
          "1 to " + MAX_NAME_SERVERS + " name servers, not " + copy.size());
    }
    for (InetSocketAddress server : copy) {
      if (server.isUnresolved() || server.getPort() == 0) {
        throw new IllegalArgumentException("a name server is an address and a port, not " + server);
      }
    }
    this.nameServers = copy;
    return this;
  }

  /** Has other limits for how long a guest may be silent, as {@link AgentLoops} has them. */
  EngineBuilder silence(Duration silence, Duration signOfLife) {
    this.silence = silence;
    this.signOfLife = signOfLife;
    return this;
  }

  /** Has images and kernels from there. */
  EngineBuilder sources(Sources other) {
    this.sources = other;
    return this;
  }

  @Override
  public Nacelle build() {
    List<HypervisorProvider> candidates = candidates();
    List<HostCheck> checks = new ArrayList<>();
    HypervisorException first = null;
    for (HypervisorProvider candidate : candidates) {
      try {
        return new Engine(
            candidate.open(),
            new LinuxSupport(candidate),
            sources(),
            scratchDirectory(),
            listeners,
            new AgentLoops(ioThreads, silence, signOfLife),
            nameServers,
            new Capacity(maxSandboxes, maxGuestMemory));
      } catch (HypervisorException e) {
        checks.add(candidate.check());
        first = first == null ? e : first;
      }
    }
    throw HostChecks.unavailable(checks, first);
  }

  @Override
  public PreparedSandbox prepare(SandboxSpec spec) {
    return Engine.prepare(sources(), spec, toPrepareFor().drivers());
  }

  @Override
  public PruneResult pruneImages(PrunePolicy policy) {
    return sources().pruneImages(policy);
  }

  @Override
  public PruneResult pruneKernels(PrunePolicy policy) {
    return sources().pruneKernels(policy);
  }

  private Sources sources() {
    return sources != null
        ? sources
        : new StoredSources(cacheDirectory(), registries, pullPolicy, kernelLock, fetchListener);
  }

  private Path scratchDirectory() {
    return scratchDirectory != null ? scratchDirectory : cacheDirectory().resolve("scratch");
  }

  private Path cacheDirectory() {
    return cacheDirectory != null ? cacheDirectory : CacheDirectory.ofThisUser();
  }

  @Override
  public List<HostCheck> checkHost() {
    return candidates().stream().map(HypervisorProvider::check).toList();
  }

  /** Looks for hypervisors among these. */
  EngineBuilder among(List<HypervisorProvider> providers) {
    this.found = providers;
    return this;
  }

  /** By the library's own class loader rather than the thread's: both are deployed together. */
  private List<HypervisorProvider> providers() {
    return found != null
        ? found
        : ServiceLoader.load(HypervisorProvider.class, EngineBuilder.class.getClassLoader())
            .stream()
            .map(ServiceLoader.Provider::get)
            .toList();
  }

  /** The one that is chosen, or else the first for this platform, whether it can be used or not. */
  private HypervisorProvider toPrepareFor() {
    List<HypervisorProvider> candidates = candidates();
    boolean chosen = provider != null || hypervisorName != null;
    return candidates.stream()
        .filter(candidate -> chosen || candidate.supportsPlatform())
        .findFirst()
        .orElseThrow(
            () ->
                HostChecks.unavailable(
                    candidates.stream().map(HypervisorProvider::check).toList(), null));
  }

  /**
   * The one that is chosen, or else those for this platform; where there are none, all of them,
   * which can then say so.
   */
  private List<HypervisorProvider> candidates() {
    if (provider != null) {
      return List.of(provider);
    }
    List<HypervisorProvider> all = providers();
    String wanted = hypervisorName;
    if (wanted == null) {
      List<HypervisorProvider> suitable =
          all.stream().filter(HypervisorProvider::supportsPlatform).toList();
      return suitable.isEmpty() ? all : suitable;
    }
    List<HypervisorProvider> named =
        all.stream().filter(candidate -> candidate.name().equals(wanted)).toList();
    if (named.isEmpty()) {
      throw new HypervisorUnavailableException(
          "There is no hypervisor '"
              + wanted
              + "' on the class path, only "
              + all.stream().map(HypervisorProvider::name).toList(),
          "Choose another, or add the dependency that brings it.",
          List.of(),
          null);
    }
    return named;
  }
}
