// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.internal.check.Bounds;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.network.NetworkListener;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** What a sandbox consists of: an image, a kernel, and the machine they run in. Immutable. */
public final class SandboxSpec {
  /** Default of {@link #memory()}: 256 MiB. */
  public static final DataSize DEFAULT_MEMORY = DataSize.mebibytes(256);

  /**
   * Least {@link #memory()}: 32 MiB. Below it no kernel gets as far as telling what it lacks. What
   * a kernel really needs depends on its build and the modules it loads; a distribution's cloud
   * kernel takes about 100 MiB.
   */
  public static final DataSize MINIMUM_MEMORY = DataSize.mebibytes(32);

  /** Default of {@link #fetchTimeout()}: ten minutes. */
  public static final Duration DEFAULT_FETCH_TIMEOUT = Duration.ofMinutes(10);

  /** Default of {@link #startTimeout()}: one minute. */
  public static final Duration DEFAULT_START_TIMEOUT = Duration.ofMinutes(1);

  /** Default of {@link #stopGrace()}: one second. */
  public static final Duration DEFAULT_STOP_GRACE = Duration.ofSeconds(1);

  /** Most characters of {@link #kernelParameters()}. */
  public static final int MAXIMUM_KERNEL_PARAMETERS = 1536;

  /** Least {@link #cpuQuota()}: a hundredth of a processor. */
  public static final double MINIMUM_CPU_QUOTA = 0.01;

  /** Most {@link #dataDisks()}. */
  public static final int MAXIMUM_DATA_DISKS = 12;

  /** Most {@link #published()}. */
  public static final int MAXIMUM_PUBLISHED_PORTS = 256;

  private static final int MAX_CPUS = 255;
  private static final int MAX_KERNEL_MODULES = 64;
  private static final Pattern MODULE_NAME = Pattern.compile("[A-Za-z0-9_-]{1,55}");

  private final ImageRef image;
  private final KernelRef kernel;
  private final @Nullable String name;
  private final Map<String, String> labels;
  private final DataSize memory;
  private final MemoryPolicy memoryPolicy;
  private final int cpus;
  private final WritableLayer writableLayer;
  private final Map<String, DataDisk> dataDisks;
  private final @Nullable DataSize sharedMemory;
  private final RateLimits rateLimits;
  private final boolean coreScheduling;
  private final @Nullable Double cpuQuota;
  private final int niceness;
  private final @Nullable Long openFilesLimit;
  private final @Nullable Long pidsLimit;
  private final Duration fetchTimeout;
  private final Duration startTimeout;
  private final @Nullable Duration maxLifetime;
  private final @Nullable Duration idleTimeout;
  private final Duration stopGrace;
  private final @Nullable String hostname;
  private final Map<String, String> environment;
  private final @Nullable String user;
  private final @Nullable String workingDirectory;
  private final @Nullable PullPolicy pullPolicy;
  private final @Nullable List<String> entrypoint;
  private final @Nullable List<String> command;
  private final @Nullable Signal stopSignal;
  private final boolean init;
  private final String kernelParameters;
  private final List<String> kernelModules;
  private final Map<String, String> sysctls;
  private final ContainerSpec container;
  private final ProcessSecurity security;
  private final NetworkPolicy network;
  private final Set<PublishedPort> published;
  private final @Nullable NetworkListener networkListener;

  private SandboxSpec(Builder builder, ImageRef image) {
    this.image = image;
    kernel = builder.kernel;
    name = builder.name;
    labels = Collections.unmodifiableMap(new LinkedHashMap<>(builder.labels));
    memory = builder.memory;
    memoryPolicy = builder.memoryPolicy;
    cpus = builder.cpus;
    writableLayer = builder.writableLayer;
    dataDisks = Collections.unmodifiableMap(new LinkedHashMap<>(builder.dataDisks));
    sharedMemory = builder.sharedMemory;
    rateLimits = builder.rateLimits;
    coreScheduling = builder.coreScheduling;
    cpuQuota = builder.cpuQuota;
    niceness = builder.niceness;
    openFilesLimit = builder.openFilesLimit;
    pidsLimit = builder.pidsLimit;
    fetchTimeout = builder.fetchTimeout;
    startTimeout = builder.startTimeout;
    maxLifetime = builder.maxLifetime;
    idleTimeout = builder.idleTimeout;
    stopGrace = builder.stopGrace;
    hostname = builder.hostname;
    environment = Collections.unmodifiableMap(new LinkedHashMap<>(builder.environment));
    user = builder.user;
    workingDirectory = builder.workingDirectory;
    pullPolicy = builder.pullPolicy;
    entrypoint = builder.entrypoint;
    command = builder.command;
    stopSignal = builder.stopSignal;
    init = builder.init;
    kernelParameters = builder.kernelParameters;
    kernelModules = List.copyOf(builder.kernelModules);
    sysctls = Collections.unmodifiableMap(new LinkedHashMap<>(builder.sysctls));
    container = builder.container;
    security = builder.security;
    network = builder.network;
    published = Collections.unmodifiableSet(new LinkedHashSet<>(builder.published));
    networkListener = builder.networkListener;
  }

  /** A specification with every default; an image must be given. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make another that differs, such as one for each of several kernels. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** What runs in it. */
  public ImageRef image() {
    return image;
  }

  /** What it boots. */
  public KernelRef kernel() {
    return kernel;
  }

  /** Its name, where one was given; otherwise {@link Nacelle} makes one up. */
  public Optional<String> name() {
    return Optional.ofNullable(name);
  }

  /** The caller's own marks; they mean nothing to Nacelle. */
  public Map<String, String> labels() {
    return labels;
  }

  /** Size of the machine's memory, rounded up to whole pages of 4096 bytes. */
  public DataSize memory() {
    return memory;
  }

  /** What the host's memory is spent on. */
  public MemoryPolicy memoryPolicy() {
    return memoryPolicy;
  }

  /** Number of vCPUs. */
  public int cpus() {
    return cpus;
  }

  /** Where what the workload writes to its root filesystem goes. */
  public WritableLayer writableLayer() {
    return writableLayer;
  }

  /** Its disks beside that of its image, by where they are mounted, in the order of mounting. */
  public Map<String, DataDisk> dataDisks() {
    return dataDisks;
  }

  /** Limit of what the workload may write to /dev/shm; without one 64 MiB. */
  public Optional<DataSize> sharedMemory() {
    return Optional.ofNullable(sharedMemory);
  }

  /** How much it may have of its machine's devices; by default as much as they can give. */
  public RateLimits rateLimits() {
    return rateLimits;
  }

  /** Whether no core runs anything else beside it, where the host's kernel can see to that. */
  public boolean coreScheduling() {
    return coreScheduling;
  }

  /**
   * How many processors' time its vCPUs may have of the host's; without one as much as they can.
   */
  public OptionalDouble cpuQuota() {
    return cpuQuota == null ? OptionalDouble.empty() : OptionalDouble.of(cpuQuota);
  }

  /** How much its vCPUs give way to other threads of the host: 0 to 19. */
  public int niceness() {
    return niceness;
  }

  /** Limit of open files, of all its processes together; without one what its memory allows. */
  public OptionalLong openFilesLimit() {
    return openFilesLimit == null ? OptionalLong.empty() : OptionalLong.of(openFilesLimit);
  }

  /** Limit of processes and threads; without one 4096. */
  public OptionalLong pidsLimit() {
    return pidsLimit == null ? OptionalLong.empty() : OptionalLong.of(pidsLimit);
  }

  /** How long it may take to have what it is made of at hand. */
  public Duration fetchTimeout() {
    return fetchTimeout;
  }

  /** How long it may take from there to being ready. */
  public Duration startTimeout() {
    return startTimeout;
  }

  /** How long it may live once it has started; without one as long as nobody closes it. */
  public Optional<Duration> maxLifetime() {
    return Optional.ofNullable(maxLifetime);
  }

  /** How long it may be idle; without one as long as nobody closes it. */
  public Optional<Duration> idleTimeout() {
    return Optional.ofNullable(idleTimeout);
  }

  /** How long its processes have between their stop signal and SIGKILL when it is closed. */
  public Duration stopGrace() {
    return stopGrace;
  }

  /** Its host name, where one was given; otherwise its name. */
  public Optional<String> hostname() {
    return Optional.ofNullable(hostname);
  }

  /** Variables added to the image's environment, or replacing them. */
  public Map<String, String> environment() {
    return environment;
  }

  /** The user, where it is not the image's. */
  public Optional<String> user() {
    return Optional.ofNullable(user);
  }

  /** The working directory, where it is not the image's. */
  public Optional<String> workingDirectory() {
    return Optional.ofNullable(workingDirectory);
  }

  /**
   * When the registry of the image, or of a kernel which is an image, is asked, where that is not
   * as {@link Nacelle} has it.
   */
  public Optional<PullPolicy> pullPolicy() {
    return Optional.ofNullable(pullPolicy);
  }

  /** What {@link ProcessSpec#entrypoint} runs, where it is not the image's Entrypoint. */
  public Optional<List<String>> entrypoint() {
    return Optional.ofNullable(entrypoint);
  }

  /** Its arguments when it is given none, where they are not the image's Cmd. */
  public Optional<List<String>> command() {
    return Optional.ofNullable(command);
  }

  /** What asks an entrypoint to end, where it is not the image's StopSignal. */
  public Optional<Signal> stopSignal() {
    return Optional.ofNullable(stopSignal);
  }

  /** Whether an init of Nacelle's is PID 1, also for entrypoints. */
  public boolean init() {
    return init;
  }

  /** What is added to the kernel's command line. */
  public String kernelParameters() {
    return kernelParameters;
  }

  /** The modules that it asks for, '-' written as '_', in the order of asking. */
  public List<String> kernelModules() {
    return kernelModules;
  }

  /** Values of the sysctls that it sets, by their names with dots, in the order of setting. */
  public Map<String, String> sysctls() {
    return sysctls;
  }

  /** How its container differs from what Docker would make of its image. */
  public ContainerSpec container() {
    return container;
  }

  /** What its processes may do, where they do not say otherwise. */
  public ProcessSecurity security() {
    return security;
  }

  /** Where it may connect to when it starts; {@link NetworkPolicy#none()} is no network at all. */
  public NetworkPolicy network() {
    return network;
  }

  /** Its ports that are reached from outside. */
  public Set<PublishedPort> published() {
    return published;
  }

  /** What is told of its network, where something is. */
  public Optional<NetworkListener> networkListener() {
    return Optional.ofNullable(networkListener);
  }

  /** In order for what is mounted, and for sysctls, of which one may change another's bounds. */
  private List<@Nullable Object> state() {
    return Arrays.asList(
        image,
        kernel,
        name,
        labels,
        memory,
        memoryPolicy,
        cpus,
        writableLayer,
        List.copyOf(dataDisks.entrySet()),
        sharedMemory,
        rateLimits,
        coreScheduling,
        cpuQuota,
        niceness,
        openFilesLimit,
        pidsLimit,
        fetchTimeout,
        startTimeout,
        maxLifetime,
        idleTimeout,
        stopGrace,
        hostname,
        environment,
        user,
        workingDirectory,
        pullPolicy,
        entrypoint,
        command,
        stopSignal,
        init,
        kernelParameters,
        kernelModules,
        List.copyOf(sysctls.entrySet()),
        container,
        security,
        network,
        published,
        networkListener);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof SandboxSpec spec && state().equals(spec.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** The main things, without what may be a secret: values of variables, arguments. */
  @Override
  public String toString() {
    return "sandbox "
        + (name == null ? "" : name + " ")
        + "of "
        + image
        + " on "
        + kernel
        + ", "
        + memory
        + ", "
        + cpus
        + (cpus == 1 ? " vCPU" : " vCPUs")
        + (network.isNone() ? "" : ", with a network");
  }

  /**
   * Makes a {@link SandboxSpec}. Not safe for use from several threads. What is optional, so that
   * its getter is an Optional, is taken back to its default by null, or by {@code removeX()} where
   * there is one; what was added, by {@code removeX(name)}.
   */
  public static final class Builder {
    private @Nullable ImageRef image;
    private KernelRef kernel = KernelRef.defaultKernel();
    private @Nullable String name;
    private final Map<String, String> labels = new LinkedHashMap<>();
    private DataSize memory = DEFAULT_MEMORY;
    private MemoryPolicy memoryPolicy = MemoryPolicy.SPEED;
    private int cpus = 1;
    private WritableLayer writableLayer = WritableLayer.inMemory();
    private final Map<String, DataDisk> dataDisks = new LinkedHashMap<>();
    private @Nullable DataSize sharedMemory;
    private RateLimits rateLimits = RateLimits.NONE;
    private boolean coreScheduling = true;
    private @Nullable Double cpuQuota;
    private int niceness;
    private @Nullable Long openFilesLimit;
    private @Nullable Long pidsLimit;
    private Duration fetchTimeout = DEFAULT_FETCH_TIMEOUT;
    private Duration startTimeout = DEFAULT_START_TIMEOUT;
    private @Nullable Duration maxLifetime;
    private @Nullable Duration idleTimeout;
    private Duration stopGrace = DEFAULT_STOP_GRACE;
    private @Nullable String hostname;
    private final Map<String, String> environment = new LinkedHashMap<>();
    private @Nullable String user;
    private @Nullable String workingDirectory;
    private @Nullable PullPolicy pullPolicy;
    private @Nullable List<String> entrypoint;
    private @Nullable List<String> command;
    private @Nullable Signal stopSignal;
    private boolean init;
    private String kernelParameters = "";
    private final Set<String> kernelModules = new LinkedHashSet<>();
    private final Map<String, String> sysctls = new LinkedHashMap<>();
    private ContainerSpec container = ContainerSpec.DEFAULT;
    private ProcessSecurity security = ProcessSecurity.DEFAULT;
    private NetworkPolicy network = NetworkPolicy.none();
    private final Set<PublishedPort> published = new LinkedHashSet<>();
    private @Nullable NetworkListener networkListener;

    private Builder() {}

    private Builder(SandboxSpec spec) {
      image = spec.image;
      kernel = spec.kernel;
      name = spec.name;
      labels.putAll(spec.labels);
      memory = spec.memory;
      memoryPolicy = spec.memoryPolicy;
      cpus = spec.cpus;
      writableLayer = spec.writableLayer;
      dataDisks.putAll(spec.dataDisks);
      sharedMemory = spec.sharedMemory;
      rateLimits = spec.rateLimits;
      coreScheduling = spec.coreScheduling;
      cpuQuota = spec.cpuQuota;
      niceness = spec.niceness;
      openFilesLimit = spec.openFilesLimit;
      pidsLimit = spec.pidsLimit;
      fetchTimeout = spec.fetchTimeout;
      startTimeout = spec.startTimeout;
      maxLifetime = spec.maxLifetime;
      idleTimeout = spec.idleTimeout;
      stopGrace = spec.stopGrace;
      hostname = spec.hostname;
      environment.putAll(spec.environment);
      user = spec.user;
      workingDirectory = spec.workingDirectory;
      pullPolicy = spec.pullPolicy;
      entrypoint = spec.entrypoint;
      command = spec.command;
      stopSignal = spec.stopSignal;
      init = spec.init;
      kernelParameters = spec.kernelParameters;
      kernelModules.addAll(spec.kernelModules);
      sysctls.putAll(spec.sysctls);
      container = spec.container;
      security = spec.security;
      network = spec.network;
      published.addAll(spec.published);
      networkListener = spec.networkListener;
    }

    /**
     * What runs in it; must be given.
     *
     * @param reference as {@link ImageRef#parse} reads it
     */
    public Builder image(String reference) {
      return image(ImageRef.parse(reference));
    }

    /** What runs in it; must be given. */
    public Builder image(ImageRef reference) {
      this.image = Objects.requireNonNull(reference);
      return this;
    }

    /**
     * When the registry of the image is asked, and that of a kernel which is an image; the default
     * is {@link Nacelle.Builder#pullPolicy}.
     */
    public Builder pullPolicy(@Nullable PullPolicy policy) {
      this.pullPolicy = policy;
      return this;
    }

    /**
     * What it boots; the default is {@link KernelRef#defaultKernel()}.
     *
     * @param reference as {@link KernelRef#parse} reads it
     */
    public Builder kernel(String reference) {
      return kernel(KernelRef.parse(reference));
    }

    /** What it boots; the default is {@link KernelRef#defaultKernel()}. */
    public Builder kernel(KernelRef reference) {
      this.kernel = Objects.requireNonNull(reference);
      return this;
    }

    /**
     * A name for messages, thread names and, unless another is given, the host name; names need not
     * be unique.
     *
     * @throws IllegalArgumentException when it is not 1 to 64 characters of {@code [A-Za-z0-9._-]}
     */
    public Builder name(@Nullable String name) {
      this.name = name == null ? null : Checks.name("a sandbox", name);
      return this;
    }

    /** A mark of the caller's own. */
    public Builder label(String key, String value) {
      labels.put(Objects.requireNonNull(key), Objects.requireNonNull(value));
      return this;
    }

    /** Marks of the caller's own. */
    public Builder labels(Map<String, String> marks) {
      marks.forEach(this::label);
      return this;
    }

    /** Takes a mark back. */
    public Builder removeLabel(String key) {
      labels.remove(key);
      return this;
    }

    /**
     * Size of the machine's memory, for the guest's kernel and the workload together; the default
     * is {@link #DEFAULT_MEMORY}.
     *
     * @throws IllegalArgumentException when it is less than {@link #MINIMUM_MEMORY}, or does not
     *     fit 63 bits in whole pages
     */
    public Builder memory(DataSize memory) {
      if (memory.compareTo(MINIMUM_MEMORY) < 0) {
        throw new IllegalArgumentException(
            "a sandbox needs at least " + MINIMUM_MEMORY + " of memory, not " + memory);
      }
      this.memory = Checks.wholePages(memory);
      return this;
    }

    /**
     * What the host's memory is spent on; the default is {@link MemoryPolicy#SPEED}. The guest sees
     * no difference but time.
     */
    public Builder memoryPolicy(MemoryPolicy policy) {
      this.memoryPolicy = Objects.requireNonNull(policy);
      return this;
    }

    /**
     * Number of vCPUs; the default is 1.
     *
     * @throws IllegalArgumentException when it is not between 1 and 255
     */
    public Builder cpus(int cpus) {
      if (cpus < 1 || cpus > MAX_CPUS) {
        throw new IllegalArgumentException(
            "a sandbox has 1 to " + MAX_CPUS + " vCPUs, not " + cpus);
      }
      this.cpus = cpus;
      return this;
    }

    /**
     * Where what the workload writes to its root filesystem goes; the default is {@link
     * WritableLayer#inMemory()}.
     */
    public Builder writableLayer(WritableLayer layer) {
      this.writableLayer = Objects.requireNonNull(layer);
      return this;
    }

    /**
     * Adds a disk, mounted at that path of the container; one that was given for the path before is
     * replaced. Where nothing is there a directory is made. Disks are mounted one after the other,
     * before the {@linkplain #container container's} own mounts, which may so show parts of them
     * elsewhere or change their options. Device files work on none of them, unless the container
     * has all devices.
     *
     * <p>A disk that is to be made is made while image and kernel are fetched, within {@link
     * #fetchTimeout}, and fails the start with an {@link ImageException}. It needs Linux 5.6 in the
     * sandbox.
     *
     * @param path as {@code /data}
     * @throws IllegalArgumentException when the path is not absolute, has "..", a NUL or more than
     *     4095 bytes; when it is the root, or /dev, /proc or /sys or below one of them; and when
     *     there are more than {@value #MAXIMUM_DATA_DISKS}
     */
    public Builder dataDisk(String path, DataDisk disk) {
      dataDisks.put(Checks.mountPoint(path), Objects.requireNonNull(disk));
      if (dataDisks.size() > MAXIMUM_DATA_DISKS) {
        throw new IllegalArgumentException(
            "a sandbox may have " + MAXIMUM_DATA_DISKS + " data disks, not more");
      }
      return this;
    }

    /** Adds several disks; as {@link #dataDisk} for each. */
    public Builder dataDisks(Map<String, DataDisk> disks) {
      disks.forEach(this::dataDisk);
      return this;
    }

    /** Takes a disk back that was given. */
    public Builder removeDataDisk(String path) {
      dataDisks.remove(Checks.mountPoint(path));
      return this;
    }

    /**
     * Limit of what the workload may write to /dev/shm, POSIX shared memory, which is held in the
     * machine's memory; who writes more gets ENOSPC. The default is 64 MiB, as Docker's. It is cut
     * to half of what there is for {@linkplain WritableLayer#inMemory() files in memory}, the
     * default to a quarter. System V shared memory has a limit of its own: an eighth of what there
     * is for the workload, or what {@code kernel.shmall} says among the {@linkplain #sysctl
     * sysctls}, in pages.
     *
     * @throws IllegalArgumentException when it is zero
     */
    public Builder sharedMemory(@Nullable DataSize limit) {
      if (limit != null && limit.bytes() == 0) {
        throw new IllegalArgumentException("the shared memory is zero");
      }
      this.sharedMemory = limit;
      return this;
    }

    /**
     * How much it may have of its machine's devices: of each disk, of the source of entropy, and of
     * each direction of the socket, through which everything goes that is said to its processes and
     * comes from them, its {@linkplain #network network} among it, which has {@linkplain
     * NetworkPolicy#limits() limits} of its own besides. What is beyond a limit waits. The default
     * is {@link RateLimits#NONE}. Hyper-V has no such limits, and refuses them.
     */
    public Builder rateLimits(RateLimits limits) {
      this.rateLimits = Objects.requireNonNull(limits);
      return this;
    }

    /**
     * Whether no core runs anything else beside its vCPUs, where the host has SMT and its kernel
     * has core scheduling (CONFIG_SCHED_CORE, Linux 5.14); the default is true. Two threads of a
     * core see traces of what each other does, in caches and buffers, which is a way to spy on
     * another machine or on the host.
     *
     * <p>It costs nothing while there are cores to spare. On a host whose cores are all busy, each
     * machine with one vCPU has a core for itself, so SMT wins nothing: say false where the
     * machines of a host trust each other, and the host trusts them.
     */
    public Builder coreScheduling(boolean wanted) {
      this.coreScheduling = wanted;
      return this;
    }

    /**
     * How many processors' time its vCPUs may have of the host's together, such as 0.5; by default
     * as much as the host gives them. The host holds them to it, whatever runs in the guest: what
     * they have had in each 100 ms is counted, and when it is all, they rest until the next. With
     * less than {@link #cpus} of it, the guest's clocks go on meanwhile.
     *
     * @throws IllegalArgumentException when it is less than {@link #MINIMUM_CPU_QUOTA}, or no
     *     number
     */
    public Builder cpuQuota(double cpus) {
      if (!(cpus >= MINIMUM_CPU_QUOTA)) {
        throw new IllegalArgumentException(
            "a sandbox may have " + MINIMUM_CPU_QUOTA + " CPUs or more of time, not " + cpus);
      }
      this.cpuQuota = cpus;
      return this;
    }

    /** Takes {@link #cpuQuota} back. */
    public Builder removeCpuQuota() {
      cpuQuota = null;
      return this;
    }

    /**
     * Its share of the host's processors when they are all busy: how much its vCPUs give way to
     * other threads, as nice(2) counts it, from what the host's process has up to 19. A thread has
     * four fifths of what one with a niceness of one less has; with 19 a seventieth of what it has
     * with 0. The default is 0.
     *
     * @throws IllegalArgumentException when it is not between 0 and 19
     */
    public Builder niceness(int niceness) {
      if (niceness < 0 || niceness > 19) {
        throw new IllegalArgumentException("the niceness is 0 to 19, not " + niceness);
      }
      this.niceness = niceness;
      return this;
    }

    /**
     * Limit of files that all processes of the workload have open together (fs.file-max): beyond it
     * opening one is ENFILE. Each process has a limit of its own besides: 1024, which it may raise
     * to 524,288 (RLIMIT_NOFILE). It does not hold processes that have CAP_SYS_ADMIN, as those of a
     * privileged sandbox have. The default is what the guest's memory allows, about one for each 10
     * KiB.
     *
     * @throws IllegalArgumentException when it is not between 1 and 2^31
     */
    public Builder openFilesLimit(long limit) {
      if (limit < 1 || limit > 1L << 31) {
        throw new IllegalArgumentException(
            "a sandbox may have 1 to 2147483648 open files, not " + limit);
      }
      this.openFilesLimit = limit;
      return this;
    }

    /** Takes {@link #openFilesLimit} back. */
    public Builder removeOpenFilesLimit() {
      openFilesLimit = null;
      return this;
    }

    /**
     * Limit of the workload's processes and threads together; the default is 4096.
     *
     * @throws IllegalArgumentException when it is not between 1 and 4194304 (the kernel's
     *     PID_MAX_LIMIT)
     */
    public Builder pidsLimit(long limit) {
      if (limit < 1 || limit > 1 << 22) {
        throw new IllegalArgumentException(
            "a sandbox may have 1 to 4194304 processes, not " + limit);
      }
      this.pidsLimit = limit;
      return this;
    }

    /** Takes {@link #pidsLimit} back. */
    public Builder removePidsLimit() {
      pidsLimit = null;
      return this;
    }

    /**
     * How long it may take, from the call on, to have at hand what the sandbox is made of: its
     * image, its kernel and the kernel's initramfs, which are downloaded, unpacked and packed
     * unless they are in the cache directory, and its {@linkplain #dataDisk data disks}. The
     * default is {@link #DEFAULT_FETCH_TIMEOUT}. {@link Nacelle.Builder#prepare} does all of that
     * beforehand.
     *
     * @throws IllegalArgumentException when it is not positive, or more than 100 years
     */
    public Builder fetchTimeout(Duration timeout) {
      this.fetchTimeout = Checks.duration("fetch timeout", timeout);
      return this;
    }

    /**
     * How long it may take to start, from image and kernel at hand to the sandbox being ready. The
     * default is {@link #DEFAULT_START_TIMEOUT}. A guest that dies is told of at once, whatever
     * this says. It says nothing of how long the sandbox then lives.
     *
     * @throws IllegalArgumentException when it is not positive, or more than 100 years
     */
    public Builder startTimeout(Duration timeout) {
      this.startTimeout = Checks.duration("start timeout", timeout);
      return this;
    }

    /**
     * Closes the sandbox that long after it has started, with {@link SandboxExit.Reason#LIFETIME};
     * by default nobody but the caller closes it.
     *
     * @throws IllegalArgumentException when it is not positive, or more than 100 years
     */
    public Builder maxLifetime(@Nullable Duration lifetime) {
      this.maxLifetime = lifetime == null ? null : Checks.duration("lifetime", lifetime);
      return this;
    }

    /**
     * Closes the sandbox when its guest was idle for that long, with {@link
     * SandboxExit.Reason#IDLE}; by default it may be idle for ever. It is idle while its processes
     * together take less than a hundredth of one processor's time, read and write no disk, and none
     * is started from here and ends. So a process that waits, for a request, for input or for a
     * time, does not keep it from being idle, and neither do open connections and calls that wait
     * with it; one that works does, whoever started it and whether somebody waits for it or not.
     * The time is counted by the guest's clock, and found to be over a tenth of it late at most, or
     * 100 ms.
     *
     * @throws IllegalArgumentException when it is not positive, or more than 100 years
     */
    public Builder idleTimeout(@Nullable Duration timeout) {
      this.idleTimeout = timeout == null ? null : Checks.duration("idle timeout", timeout);
      return this;
    }

    /**
     * How long processes have between their {@linkplain ProcessSpec.Builder#stopSignal stop signal}
     * and SIGKILL when the sandbox is closed; the default is {@link #DEFAULT_STOP_GRACE}. The guest
     * has that and one second more, whatever it does, before its machine goes; with zero it is not
     * even asked. Where it writes to a data disk that is kept ({@link DataDisk#image}) it is always
     * asked, and has a minute more to leave it clean.
     *
     * @throws IllegalArgumentException when it is negative, or more than 100 years
     */
    public Builder stopGrace(Duration grace) {
      if (grace.isNegative() || grace.compareTo(Checks.LONGEST) > 0) {
        throw new IllegalArgumentException("the grace is not between 0 and 100 years: " + grace);
      }
      this.stopGrace = grace;
      return this;
    }

    /**
     * Its host name.
     *
     * @throws IllegalArgumentException when it is not 1 to 64 characters of {@code [A-Za-z0-9.-]}
     */
    public Builder hostname(@Nullable String hostname) {
      if (hostname != null && !hostname.matches("[A-Za-z0-9.-]{1,64}")) {
        throw new IllegalArgumentException(
            "a host name is 1 to 64 characters of [A-Za-z0-9.-], not '" + hostname + "'");
      }
      this.hostname = hostname;
      return this;
    }

    /**
     * Adds a variable to every process's environment, or replaces the image's.
     *
     * @throws IllegalArgumentException when the name is empty or holds '=', or one holds a NUL
     */
    public Builder environment(String name, String value) {
      Checks.variable(environment, name, value);
      return this;
    }

    /**
     * Adds variables to every process's environment, or replaces the image's.
     *
     * @throws IllegalArgumentException when a name is empty or holds '=', or one holds a NUL
     */
    public Builder environment(Map<String, String> variables) {
      variables.forEach(this::environment);
      return this;
    }

    /** Takes a variable back that was given here; that of the image is left. */
    public Builder removeEnvironment(String name) {
      environment.remove(name);
      return this;
    }

    /**
     * Runs processes as that user rather than as the image's.
     *
     * @param user as {@link ProcessSpec.Builder#user}
     * @throws IllegalArgumentException when it has more than 512 bytes
     */
    public Builder user(@Nullable String user) {
      this.user = user == null ? null : Checks.user(user);
      return this;
    }

    /**
     * Starts processes there rather than where the image says. The directory is created when it is
     * absent.
     *
     * @throws IllegalArgumentException when the path is not absolute, or has more than 4095 bytes
     */
    public Builder workingDirectory(@Nullable String path) {
      this.workingDirectory = path == null ? null : Checks.absolute(path);
      return this;
    }

    /**
     * What {@link ProcessSpec#entrypoint} runs, in place of the image's Entrypoint, and with it
     * goes the image's Cmd, which is made for it. None at all leaves the {@linkplain #command
     * command} or the arguments alone.
     *
     * @throws IllegalArgumentException when one holds a NUL
     */
    public Builder entrypoint(String... entrypoint) {
      return entrypoint(List.of(entrypoint));
    }

    /** As {@link #entrypoint(String...)}. */
    public Builder entrypoint(List<String> entrypoint) {
      this.entrypoint = Checks.arguments(entrypoint);
      return this;
    }

    /** Takes {@link #entrypoint(String...)} back: the image's Entrypoint counts. */
    public Builder removeEntrypoint() {
      entrypoint = null;
      return this;
    }

    /**
     * The arguments of the entrypoint when a process gives none, in place of the image's Cmd.
     *
     * @throws IllegalArgumentException when one holds a NUL
     */
    public Builder command(String... command) {
      return command(List.of(command));
    }

    /** As {@link #command(String...)}. */
    public Builder command(List<String> command) {
      this.command = Checks.arguments(command);
      return this;
    }

    /** Takes {@link #command(String...)} back: the image's Cmd counts. */
    public Builder removeCommand() {
      command = null;
      return this;
    }

    /**
     * What asks an {@linkplain ProcessSpec#entrypoint entrypoint} to end, in place of the image's
     * StopSignal. Where neither says anything, or the image names no signal that there is, it is
     * SIGTERM.
     */
    public Builder stopSignal(@Nullable Signal signal) {
      this.stopSignal = signal;
      return this;
    }

    /**
     * Puts an init of Nacelle's as PID 1 over {@linkplain ProcessSpec#entrypoint entrypoints}, as
     * {@code docker run --init} does: it reaps orphans, and signals reach an entrypoint as they
     * reach any process. By default an entrypoint is PID 1 itself, which images with an init of
     * their own insist on. What is started with no entrypoint running always has one over it.
     */
    public Builder init(boolean init) {
      this.init = init;
      return this;
    }

    /**
     * Adds to the kernel's command line, after the parameters that the machine needs: of two
     * settings of one parameter the kernel takes the later. Values with spaces are written {@code
     * name="a b"}. Calling it again replaces what was given.
     *
     * <p>The parameters of a module are given in the same way, {@code MODULE.PARAMETER=VALUE},
     * whether it is built in or loaded.
     *
     * <p>A sandbox in which nothing has CAP_SYS_ADMIN as it starts, and that mounts no tracefs, has
     * a kernel without one, which saves a sixth of the boot where the kernel has tracing. {@code
     * initcall_blacklist=} and parameters of tracing keep it, for an exec that has the capability.
     *
     * @throws IllegalArgumentException when they have more than {@link #MAXIMUM_KERNEL_PARAMETERS}
     *     characters, or others than printable ASCII; when a quotation mark is not closed; and when
     *     they hold what keeps the machine from starting or from being heard: {@code init}, {@code
     *     rdinit}, {@code initrd}, {@code initrdmem}, {@code noinitrd}, {@code console}, {@code
     *     panic}, {@code reboot}, {@code acpi} and {@code --}
     */
    public Builder kernelParameters(String parameters) {
      this.kernelParameters = KernelParameters.check(parameters);
      return this;
    }

    /**
     * Adds modules that the workload wants, such as {@code tun}, {@code wireguard} or {@code
     * nf_tables}: each is there once the sandbox has started, with all that it depends on, whether
     * the kernel has it built in or as a module. A kernel that has it neither way is refused before
     * it boots, and a module that the kernel refuses to load fails the start.
     *
     * <p>They are named as {@code lsmod} shows them, '-' and '_' alike, not by aliases. Their
     * parameters are written as for any kernel, {@code MODULE.PARAMETER=VALUE} among the
     * {@linkplain #kernelParameters kernel parameters}, which also holds for what is built in.
     *
     * <p>Where the kernel has {@code tun} or {@code fuse}, processes find /dev/net/tun and
     * /dev/fuse; other device files root can make with mknod(1).
     *
     * @throws IllegalArgumentException when one is not 1 to 55 characters of {@code [A-Za-z0-9_-]}
     *     (MODULE_NAME_LEN of include/linux/module.h), or there are more than 64
     */
    public Builder kernelModules(String... modules) {
      return kernelModules(List.of(modules));
    }

    /** As {@link #kernelModules(String...)}. */
    public Builder kernelModules(List<String> modules) {
      for (String module : modules) {
        if (!MODULE_NAME.matcher(module).matches()) {
          throw new IllegalArgumentException(
              "a kernel module's name is 1 to 55 characters of [A-Za-z0-9_-], without .ko, not '"
                  + module
                  + "'");
        }
        kernelModules.add(module.replace('-', '_'));
      }
      if (kernelModules.size() > MAX_KERNEL_MODULES) {
        throw new IllegalArgumentException(
            "a sandbox may ask for " + MAX_KERNEL_MODULES + " kernel modules, not more");
      }
      return this;
    }

    /** Asks for a module no more; '-' and '_' are alike. */
    public Builder removeKernelModule(String module) {
      kernelModules.remove(module.replace('-', '_'));
      return this;
    }

    /**
     * Sets a sysctl before the first process starts, where processes see it: also those that belong
     * to an IPC namespace ({@code kernel.shmmax}, {@code fs.mqueue.msg_max}). They are set in the
     * order in which they were given first; the last value of each counts. One that the kernel does
     * not have, or whose value it refuses, fails the start, by name and with the kernel's error;
     * where an option is known to be missing for it, the kernel is refused before it boots.
     *
     * @param name as {@code net.core.somaxconn} or {@code net/core/somaxconn}; of two separators
     *     the first to come separates (sysctl.d(5))
     * @throws IllegalArgumentException when it is no sysctl's name, {@code kernel.hostname} or
     *     {@code kernel.panic}; when the value has more than 1024 characters, or others than
     *     printable ASCII and tabs; and when there are more than 256
     */
    public Builder sysctl(String name, String value) {
      String dotted = Sysctls.name(name);
      sysctls.put(dotted, Sysctls.value(dotted, value));
      if (sysctls.size() > Sysctls.MAX) {
        throw new IllegalArgumentException(
            "a sandbox may set " + Sysctls.MAX + " sysctls, not more");
      }
      return this;
    }

    /** Sets several sysctls; as {@link #sysctl} for each. */
    public Builder sysctls(Map<String, String> values) {
      values.forEach(this::sysctl);
      return this;
    }

    /**
     * Leaves a sysctl alone that was to be set.
     *
     * @param name as {@link #sysctl} takes it
     * @throws IllegalArgumentException when it is no sysctl's name
     */
    public Builder removeSysctl(String name) {
      sysctls.remove(Sysctls.name(name));
      return this;
    }

    /**
     * Mounts, devices and what else the OCI runtime specification has for a container; the default
     * is {@link ContainerSpec#DEFAULT}.
     */
    public Builder container(ContainerSpec specification) {
      this.container = Objects.requireNonNull(specification);
      return this;
    }

    /**
     * What its processes may do, where they do not say otherwise: capabilities, system calls,
     * limits. The default is {@link ProcessSecurity#DEFAULT}.
     */
    public Builder security(ProcessSecurity security) {
      this.security = Objects.requireNonNull(security);
      return this;
    }

    /**
     * Gives the container and its processes everything, since the machine is the boundary: {@link
     * ContainerSpec#PRIVILEGED} and {@link ProcessSecurity#PRIVILEGED}, in place of what was said
     * of either. Podman and Docker run containers in such a sandbox, where what they keep is on
     * another filesystem than its root: {@code
     * container(ContainerSpec.PRIVILEGED.toBuilder().mount(...).build())} after this.
     */
    public Builder privileged() {
      return container(ContainerSpec.PRIVILEGED).security(ProcessSecurity.PRIVILEGED);
    }

    /**
     * Gives it a network, which leads where the policy says; the default is {@link
     * NetworkPolicy#none()}: no interface but localhost. With any other it has the interface {@code
     * tun0} with the address 198.18.0.2, and fd6e:6163:656c::2 where the host has IPv6, as every
     * sandbox has; its connections are made by the host's process, which needs no privilege for it.
     * Its kernel needs the driver {@code tun}. {@link Sandbox#network()} changes the policy later.
     */
    public Builder network(NetworkPolicy policy) {
      this.network = Objects.requireNonNull(policy);
      return this;
    }

    /**
     * Lets ports of it be reached from outside, beside those that were given before. The host's are
     * opened while the sandbox starts; {@link SandboxNetwork#published()} says where they are.
     */
    public Builder publish(PublishedPort... ports) {
      return publish(List.of(ports));
    }

    /** As {@link #publish(PublishedPort...)}. */
    public Builder publish(List<PublishedPort> ports) {
      published.addAll(List.copyOf(ports));
      return this;
    }

    /** Publishes a port no more. */
    public Builder removePublished(PublishedPort port) {
      published.remove(port);
      return this;
    }

    /** Tells this listener what happens in its network; by default nobody is told. */
    public Builder networkListener(@Nullable NetworkListener listener) {
      this.networkListener = listener;
      return this;
    }

    /**
     * The specification as described so far.
     *
     * @throws IllegalArgumentException when the image is missing, when the limit of a writable
     *     layer in memory or the shared memory is more than half of the memory, or when the
     *     environment, entrypoint and command are more than {@linkplain ProcessSpec.Builder#build a
     *     process can be given}; when ports are published without a network, more than {@value
     *     #MAXIMUM_PUBLISHED_PORTS} of them, one of the sandbox twice, or two on one of the host
     */
    public SandboxSpec build() {
      if (image == null) {
        throw new IllegalArgumentException("a sandbox needs an image");
      }
      if (writableLayer.kind() == WritableLayer.Kind.MEMORY) {
        writableLayer.size().ifPresent(limit -> requireRoomFor("a writable space", limit));
      }
      if (sharedMemory != null) {
        requireRoomFor("shared memory", sharedMemory);
      }
      List<String> arguments = new ArrayList<>(entrypoint == null ? List.of() : entrypoint);
      arguments.addAll(command == null ? List.of() : command);
      Bounds.strings(arguments, Bounds.entries(environment));
      PublishedPorts.check(published, network);
      return new SandboxSpec(this, image);
    }

    private void requireRoomFor(String what, DataSize space) {
      if (space.bytes() > memory.bytes() / 2) {
        throw new IllegalArgumentException(
            what
                + " of "
                + space
                + " is more than half of the memory, which is "
                + memory
                + ": give the sandbox more memory, or a disk");
      }
    }
  }
}
