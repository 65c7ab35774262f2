// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import dev.nacelle.DataSize;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimits;
import dev.nacelle.SandboxSpec;
import dev.nacelle.VmExit;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The hardware of one virtual machine and what it boots. Immutable. */
public final class VmSpec {
  /** Default of {@link #consoleSize()}: 64 KiB. */
  public static final DataSize DEFAULT_CONSOLE_SIZE = DataSize.kibibytes(64);

  private static final DataSize LEAST_CONSOLE = DataSize.kibibytes(1);
  private static final DataSize MOST_CONSOLE = DataSize.mebibytes(16);
  private static final int PAGE = 4096;

  private final String name;
  private final Guest guest;
  private final DataSize memory;
  private final int cpus;
  private final List<Disk> disks;
  private final DataSize consoleSize;
  private final RateLimits rateLimits;
  private final boolean coreScheduling;
  private final OptionalDouble cpuQuota;
  private final int niceness;

  private VmSpec(Builder builder) {
    name = builder.name;
    guest = builder.guest;
    memory = builder.memory;
    cpus = builder.cpus;
    disks = builder.disks;
    consoleSize = builder.consoleSize;
    rateLimits = builder.rateLimits;
    coreScheduling = builder.coreScheduling;
    cpuQuota = builder.cpuQuota;
    niceness = builder.niceness;
  }

  /**
   * A machine with one vCPU, no disks and no limits of rates. The parameters are as the getters of
   * the same names.
   *
   * @throws IllegalArgumentException when one is out of the bounds stated for it
   */
  public static Builder builder(String name, Guest guest, DataSize memory) {
    return new Builder(name, guest, memory);
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    Builder builder =
        new Builder(name, guest, memory)
            .cpus(cpus)
            .disks(disks)
            .consoleSize(consoleSize)
            .rateLimits(rateLimits)
            .coreScheduling(coreScheduling)
            .niceness(niceness);
    cpuQuota.ifPresent(builder::cpuQuota);
    return builder;
  }

  /** For messages and thread names; at most 64 characters of {@code [A-Za-z0-9._-]}. */
  public String name() {
    return name;
  }

  /** What it boots. */
  public Guest guest() {
    return guest;
  }

  /** Size of the guest's memory; a multiple of 4096 bytes. */
  public DataSize memory() {
    return memory;
  }

  /** Number of vCPUs, at least 1. */
  public int cpus() {
    return cpus;
  }

  /** Block devices, each with a serial number of its own. */
  public List<Disk> disks() {
    return disks;
  }

  /** How much of the end of the console's output is kept: 1 KiB to 16 MiB. */
  public DataSize consoleSize() {
    return consoleSize;
  }

  /** How much the guest may have of its devices. */
  public RateLimits rateLimits() {
    return rateLimits;
  }

  /**
   * Whether, where the host can see to that, a core runs nothing else while it runs vCPUs of this
   * machine: with SMT it could run two threads, which see traces of each other.
   */
  public boolean coreScheduling() {
    return coreScheduling;
  }

  /**
   * How much of the host's processors its vCPUs may have together: as many as that many processors
   * have time.
   */
  public OptionalDouble cpuQuota() {
    return cpuQuota;
  }

  /**
   * How much its vCPUs give way to other threads, as nice(2) counts it: 0 to 19 more than the
   * process has.
   */
  public int niceness() {
    return niceness;
  }

  private List<Object> state() {
    return List.of(
        name,
        guest,
        memory,
        cpus,
        disks,
        consoleSize,
        rateLimits,
        coreScheduling,
        cpuQuota,
        niceness);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof VmSpec that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "virtual machine " + name + " with " + memory + " and " + cpus + " vCPUs for " + guest;
  }

  /** Makes a {@link VmSpec}. Not safe for use from several threads. */
  public static final class Builder {
    private final String name;
    private final Guest guest;
    private final DataSize memory;
    private int cpus = 1;
    private List<Disk> disks = List.of();
    private DataSize consoleSize = DEFAULT_CONSOLE_SIZE;
    private RateLimits rateLimits = RateLimits.NONE;
    private boolean coreScheduling = true;
    private OptionalDouble cpuQuota = OptionalDouble.empty();
    private int niceness;

    private Builder(String name, Guest guest, DataSize memory) {
      if (!name.matches("[A-Za-z0-9._-]{1,64}")) {
        throw new IllegalArgumentException("not a virtual machine's name: " + name);
      }
      if (memory.bytes() == 0 || memory.bytes() % PAGE != 0) {
        throw new IllegalArgumentException(
            "memory is not a positive multiple of 4096 bytes: " + memory.bytes());
      }
      this.name = name;
      this.guest = Objects.requireNonNull(guest);
      this.memory = memory;
    }

    /**
     * As {@link VmSpec#cpus()}.
     *
     * @throws IllegalArgumentException when it is not positive
     */
    public Builder cpus(int cpus) {
      if (cpus < 1) {
        throw new IllegalArgumentException(
            "a virtual machine needs at least one vCPU, not " + cpus);
      }
      this.cpus = cpus;
      return this;
    }

    /**
     * As {@link VmSpec#disks()}; copies the list.
     *
     * @throws IllegalArgumentException when two disks share a serial number
     */
    public Builder disks(List<Disk> disks) {
      Set<String> serials = new HashSet<>();
      for (Disk disk : disks) {
        if (!serials.add(disk.serial())) {
          throw new IllegalArgumentException("two disks have the serial number " + disk.serial());
        }
      }
      this.disks = List.copyOf(disks);
      return this;
    }

    /**
     * As {@link VmSpec#consoleSize()}; the default is {@link #DEFAULT_CONSOLE_SIZE}.
     *
     * @throws IllegalArgumentException when it is out of its bounds
     */
    public Builder consoleSize(DataSize size) {
      if (size.compareTo(LEAST_CONSOLE) < 0 || size.compareTo(MOST_CONSOLE) > 0) {
        throw new IllegalArgumentException(
            "the console keeps " + LEAST_CONSOLE + " to " + MOST_CONSOLE + ", not " + size);
      }
      consoleSize = size;
      return this;
    }

    /** As {@link VmSpec#rateLimits()}; the default is {@link RateLimits#NONE}. */
    public Builder rateLimits(RateLimits limits) {
      rateLimits = Objects.requireNonNull(limits);
      return this;
    }

    /** As {@link VmSpec#coreScheduling()}; the default is true. */
    public Builder coreScheduling(boolean wanted) {
      coreScheduling = wanted;
      return this;
    }

    /**
     * As {@link VmSpec#cpuQuota()}; the default is none.
     *
     * @throws IllegalArgumentException when it is less than 0.01
     */
    public Builder cpuQuota(double cpus) {
      if (!(cpus >= SandboxSpec.MINIMUM_CPU_QUOTA)) {
        throw new IllegalArgumentException(
            "the quota of CPU time is less than "
                + SandboxSpec.MINIMUM_CPU_QUOTA
                + " CPUs: "
                + cpus);
      }
      cpuQuota = OptionalDouble.of(cpus);
      return this;
    }

    /** Takes {@link #cpuQuota} back. */
    public Builder removeCpuQuota() {
      cpuQuota = OptionalDouble.empty();
      return this;
    }

    /**
     * As {@link VmSpec#niceness()}; the default is 0.
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

    /** The specification. */
    public VmSpec build() {
      return new VmSpec(this);
    }
  }

  /** What a virtual machine boots. More kinds may be added: who tells them apart has a default. */
  public sealed interface Guest permits Linux, Bare {}

  /** A Linux kernel. Immutable. */
  public static final class Linux implements Guest {
    /**
     * How many bytes of parameters every hypervisor takes: of the 2047 that the kernel takes on
     * x86-64 (COMMAND_LINE_SIZE), what is left to the workload.
     */
    public static final int MAX_PARAMETERS = SandboxSpec.MAXIMUM_KERNEL_PARAMETERS;

    private final Path kernel;
    private final @Nullable Path initramfs;
    private final String parameters;
    private final MemoryPolicy memoryPolicy;
    private final boolean paravirtualClock;

    private Linux(Builder builder) {
      kernel = builder.kernel;
      initramfs = builder.initramfs;
      parameters = builder.parameters;
      memoryPolicy = builder.memoryPolicy;
      paravirtualClock = builder.paravirtualClock;
    }

    /**
     * A kernel without an initramfs and parameters.
     *
     * @param kernel as {@link #kernel()}
     */
    public static Builder builder(Path kernel) {
      return new Builder(kernel);
    }

    /** To make another that differs. */
    public Builder toBuilder() {
      return new Builder(kernel)
          .initramfs(initramfs)
          .parameters(parameters)
          .memoryPolicy(memoryPolicy)
          .paravirtualClock(paravirtualClock);
    }

    /**
     * An uncompressed ELF64 kernel ({@code vmlinux}) for this host's architecture. The file must
     * not change while machines run it, which may have pages of it for memory; it may be deleted or
     * replaced by another.
     */
    public Path kernel() {
      return kernel;
    }

    /** An initramfs, unless the kernel needs none. */
    public Optional<Path> initramfs() {
      return Optional.ofNullable(initramfs);
    }

    /**
     * The workload's part of the kernel command line, at most {@value #MAX_PARAMETERS} bytes; the
     * hypervisor adds what its devices need (console, reboot method, ...).
     */
    public String parameters() {
      return parameters;
    }

    /** What the host's memory is spent on, as far as the hypervisor has the choice. */
    public MemoryPolicy memoryPolicy() {
      return memoryPolicy;
    }

    /**
     * Whether the kernel is known to keep time by the hypervisor's own clock ({@link
     * HypervisorProvider#clockOption}), so that the machine need not have a timer chip for it.
     */
    public boolean paravirtualClock() {
      return paravirtualClock;
    }

    private List<@Nullable Object> state() {
      return Arrays.asList(kernel, initramfs, parameters, memoryPolicy, paravirtualClock);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Linux that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return "Linux " + kernel;
    }

    /** Makes a {@link Linux}. Not safe for use from several threads. */
    public static final class Builder {
      private final Path kernel;
      private @Nullable Path initramfs;
      private String parameters = "";
      private MemoryPolicy memoryPolicy = MemoryPolicy.SPEED;
      private boolean paravirtualClock;

      private Builder(Path kernel) {
        this.kernel = Objects.requireNonNull(kernel);
      }

      /** As {@link Linux#initramfs()}, or null for none. */
      public Builder initramfs(@Nullable Path file) {
        initramfs = file;
        return this;
      }

      /**
       * As {@link Linux#parameters()}.
       *
       * @throws IllegalArgumentException when they have more than {@value #MAX_PARAMETERS} bytes,
       *     or a control character
       */
      public Builder parameters(String parameters) {
        requirePrintable("the kernel parameters hold", parameters);
        int bytes = parameters.getBytes(StandardCharsets.UTF_8).length;
        if (bytes > MAX_PARAMETERS) {
          throw new IllegalArgumentException(
              "the kernel parameters have " + bytes + " bytes, more than " + MAX_PARAMETERS);
        }
        this.parameters = parameters;
        return this;
      }

      /** As {@link Linux#memoryPolicy()}; the default is {@link MemoryPolicy#SPEED}. */
      public Builder memoryPolicy(MemoryPolicy policy) {
        memoryPolicy = Objects.requireNonNull(policy);
        return this;
      }

      /** As {@link Linux#paravirtualClock()}; the default is false. */
      public Builder paravirtualClock(boolean known) {
        paravirtualClock = known;
        return this;
      }

      /** The guest. */
      public Linux build() {
        return new Linux(this);
      }
    }
  }

  /**
   * Any other program that runs without an operating system below it, as unikernels do. It may end
   * its machine with a status of its own: {@link VmExit.Reason#EXITED}. Immutable.
   */
  public static final class Bare implements Guest {
    private final Path image;
    private final String commandLine;

    private Bare(Path image, String commandLine) {
      this.image = Objects.requireNonNull(image);
      this.commandLine = commandLine;
    }

    /**
     * With what the getters of the same names tell.
     *
     * @throws IllegalArgumentException when the command line holds a control character
     */
    public static Bare of(Path image, String commandLine) {
      requirePrintable("the command line holds", commandLine);
      return new Bare(image, commandLine);
    }

    /**
     * An ELF64 executable for this host's architecture; hypervisors say in which state it starts,
     * and with which devices.
     */
    public Path image() {
      return image;
    }

    /** Handed to it as it is, with a NUL at its end. */
    public String commandLine() {
      return commandLine;
    }

    private List<Object> state() {
      return List.of(image, commandLine);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Bare that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return image.toString();
    }
  }

  /** A NUL would cut a command line, silently. */
  private static void requirePrintable(String subject, String line) {
    if (line.chars().anyMatch(Character::isISOControl)) {
      throw new IllegalArgumentException(subject + " a control character");
    }
  }

  /**
   * A block device backed by an image: a raw one, or one of {@link Hypervisor#diskFormat}. The name
   * of a raw one may be taken away once {@link Hypervisor#create} has returned: the hypervisor has
   * opened it, or has a name of its own. Until the machine is closed nobody else has an image that
   * is written to: create refuses one that another disk has, of this process or another, unless
   * both only read. Immutable.
   */
  public static final class Disk {
    private final String serial;
    private final Path image;
    private final boolean readOnly;

    private Disk(String serial, Path image, boolean readOnly) {
      this.serial = serial;
      this.image = Objects.requireNonNull(image);
      this.readOnly = readOnly;
    }

    /**
     * With what the getters of the same names tell.
     *
     * @throws IllegalArgumentException when it is not the serial number of a disk
     */
    public static Disk of(String serial, Path image, boolean readOnly) {
      if (!serial.matches("[\\x21-\\x7e]{1,20}")) {
        throw new IllegalArgumentException("not a disk's serial number: " + serial);
      }
      return new Disk(serial, image, readOnly);
    }

    /**
     * Its name among the disks of its machine, and its serial number where the hypervisor's devices
     * have one ({@link Hypervisor#guestDisks}): 1 to 20 printable ASCII characters without space.
     */
    public String serial() {
      return serial;
    }

    /** The image, a regular file; the size of a raw one is a multiple of 512 bytes. */
    public Path image() {
      return image;
    }

    /** Whether writes are refused; enforced on the host. */
    public boolean readOnly() {
      return readOnly;
    }

    private List<Object> state() {
      return List.of(serial, image, readOnly);
    }

    @Override
    public boolean equals(@Nullable Object other) {
      return other instanceof Disk that && state().equals(that.state());
    }

    @Override
    public int hashCode() {
      return state().hashCode();
    }

    @Override
    public String toString() {
      return serial + " (" + image + (readOnly ? ", read-only)" : ")");
    }
  }
}
