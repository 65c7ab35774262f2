// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * What the processes of a sandbox use together, as its kernel counts it. What that does not count
 * is absent. The guest's word: bounded, but not verified. What is counted up begins with the
 * sandbox. Immutable.
 */
public final class GuestStatistics {
  private final Duration uptime;
  private final @Nullable DataSize memory;
  private final @Nullable DataSize memoryPeak;
  private final @Nullable DataSize memoryLimit;
  private final @Nullable DataSize anonymousMemory;
  private final @Nullable DataSize fileMemory;
  private final @Nullable DataSize kernelMemory;
  private final @Nullable Long oomKills;
  private final @Nullable Duration cpuTime;
  private final @Nullable Duration userCpuTime;
  private final @Nullable Duration systemCpuTime;
  private final @Nullable Duration throttledTime;
  private final @Nullable DiskUse imageDisk;
  private final @Nullable DiskUse scratchDisk;
  private final @Nullable Long processes;
  private final @Nullable Long processPeak;
  private final @Nullable Long processLimit;
  private final @Nullable Pressure cpuPressure;
  private final @Nullable Pressure memoryPressure;
  private final @Nullable Pressure ioPressure;
  private final @Nullable DataSize availableMemory;
  private final @Nullable Double load;
  private final Map<String, NetworkUse> interfaces;
  private final @Nullable Long openFiles;
  private final @Nullable Long openFilesLimit;

  private GuestStatistics(Builder builder) {
    uptime = builder.uptime;
    memory = builder.memory;
    memoryPeak = builder.memoryPeak;
    memoryLimit = builder.memoryLimit;
    anonymousMemory = builder.anonymousMemory;
    fileMemory = builder.fileMemory;
    kernelMemory = builder.kernelMemory;
    oomKills = builder.oomKills;
    cpuTime = builder.cpuTime;
    userCpuTime = builder.userCpuTime;
    systemCpuTime = builder.systemCpuTime;
    throttledTime = builder.throttledTime;
    imageDisk = builder.imageDisk;
    scratchDisk = builder.scratchDisk;
    processes = builder.processes;
    processPeak = builder.processPeak;
    processLimit = builder.processLimit;
    cpuPressure = builder.cpuPressure;
    memoryPressure = builder.memoryPressure;
    ioPressure = builder.ioPressure;
    availableMemory = builder.availableMemory;
    load = builder.load;
    interfaces = Map.copyOf(builder.interfaces);
    openFiles = builder.openFiles;
    openFilesLimit = builder.openFilesLimit;
  }

  /**
   * Of which nothing else is known.
   *
   * @param uptime as {@link #uptime()}
   */
  public static Builder builder(Duration uptime) {
    return new Builder(uptime);
  }

  /**
   * How long the machine had run when it was read; from one reading to the next, the time between.
   */
  public Duration uptime() {
    return uptime;
  }

  /**
   * What its processes have of memory now, with the page cache, files in memory and kernel memory
   * that they brought in.
   */
  public Optional<DataSize> memory() {
    return Optional.ofNullable(memory);
  }

  /** The most of that at a time so far (Linux 5.19 and newer). */
  public Optional<DataSize> memoryPeak() {
    return Optional.ofNullable(memoryPeak);
  }

  /**
   * What its processes may have of memory: what the machine has, less what is left to the kernel
   * and the agent.
   */
  public Optional<DataSize> memoryLimit() {
    return Optional.ofNullable(memoryLimit);
  }

  /** What of the memory is processes' own: heaps, stacks. */
  public Optional<DataSize> anonymousMemory() {
    return Optional.ofNullable(anonymousMemory);
  }

  /**
   * What of the memory is the contents of files: the page cache, which goes when it is in the way,
   * and files in memory, which stay.
   */
  public Optional<DataSize> fileMemory() {
    return Optional.ofNullable(fileMemory);
  }

  /** What of the memory the kernel has for the processes (Linux 5.18 and newer). */
  public Optional<DataSize> kernelMemory() {
    return Optional.ofNullable(kernelMemory);
  }

  /** How many processes the kernel has ended for want of memory. */
  public OptionalLong oomKills() {
    return oomKills == null ? OptionalLong.empty() : OptionalLong.of(oomKills);
  }

  /** CPU time of its processes. */
  public Optional<Duration> cpuTime() {
    return Optional.ofNullable(cpuTime);
  }

  /** CPU time in the processes' own code. */
  public Optional<Duration> userCpuTime() {
    return Optional.ofNullable(userCpuTime);
  }

  /** CPU time in the kernel, for the processes. */
  public Optional<Duration> systemCpuTime() {
    return Optional.ofNullable(systemCpuTime);
  }

  /** How long processes were kept from running by a limit of CPU time in the guest. */
  public Optional<Duration> throttledTime() {
    return Optional.ofNullable(throttledTime);
  }

  /** The disk with the image; absent where nothing was read yet. */
  public Optional<DiskUse> imageDisk() {
    return Optional.ofNullable(imageDisk);
  }

  /**
   * The {@linkplain WritableLayer#onDisk disk} that is written to; absent where there is none, or
   * nothing was read and written yet.
   */
  public Optional<DiskUse> scratchDisk() {
    return Optional.ofNullable(scratchDisk);
  }

  /** Processes and threads that there are. */
  public OptionalLong processes() {
    return processes == null ? OptionalLong.empty() : OptionalLong.of(processes);
  }

  /** The most of them at a time so far (Linux 6.1 and newer). */
  public OptionalLong processPeak() {
    return processPeak == null ? OptionalLong.empty() : OptionalLong.of(processPeak);
  }

  /** How many there may be. */
  public OptionalLong processLimit() {
    return processLimit == null ? OptionalLong.empty() : OptionalLong.of(processLimit);
  }

  /** How much processes wait for a CPU. */
  public Optional<Pressure> cpuPressure() {
    return Optional.ofNullable(cpuPressure);
  }

  /** How much processes wait for memory: for what was evicted to be read again, for room. */
  public Optional<Pressure> memoryPressure() {
    return Optional.ofNullable(memoryPressure);
  }

  /** How much processes wait for disks. */
  public Optional<Pressure> ioPressure() {
    return Optional.ofNullable(ioPressure);
  }

  /** What of the whole machine's memory could be had without swapping (MemAvailable). */
  public Optional<DataSize> availableMemory() {
    return Optional.ofNullable(availableMemory);
  }

  /** The machine's load average over one minute. */
  public OptionalDouble load() {
    return load == null ? OptionalDouble.empty() : OptionalDouble.of(load);
  }

  /**
   * What went through the network interfaces that its processes have, by their names: {@code lo} is
   * what they say to each other.
   */
  public Map<String, NetworkUse> interfaces() {
    return interfaces;
  }

  /** Files that are open in the whole machine, the agent's own among them. */
  public OptionalLong openFiles() {
    return openFiles == null ? OptionalLong.empty() : OptionalLong.of(openFiles);
  }

  /**
   * How many may be: {@link SandboxSpec#openFilesLimit()}, and what the agent needs; without a
   * limit what the machine's memory allows.
   */
  public OptionalLong openFilesLimit() {
    return openFilesLimit == null ? OptionalLong.empty() : OptionalLong.of(openFilesLimit);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(
        uptime,
        memory,
        memoryPeak,
        memoryLimit,
        anonymousMemory,
        fileMemory,
        kernelMemory,
        oomKills,
        cpuTime,
        userCpuTime,
        systemCpuTime,
        throttledTime,
        imageDisk,
        scratchDisk,
        processes,
        processPeak,
        processLimit,
        cpuPressure,
        memoryPressure,
        ioPressure,
        availableMemory,
        load,
        interfaces,
        openFiles,
        openFilesLimit);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof GuestStatistics that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  /** The main things, for people. */
  @Override
  public String toString() {
    return "up for "
        + uptime
        + (memory == null ? "" : ", memory " + memory)
        + (cpuTime == null ? "" : ", CPU " + cpuTime)
        + (processes == null ? "" : ", processes " + processes);
  }

  /**
   * Makes {@link GuestStatistics}. Not safe for use from several threads. Null is for what is not
   * known.
   */
  public static final class Builder {
    private final Duration uptime;
    private @Nullable DataSize memory;
    private @Nullable DataSize memoryPeak;
    private @Nullable DataSize memoryLimit;
    private @Nullable DataSize anonymousMemory;
    private @Nullable DataSize fileMemory;
    private @Nullable DataSize kernelMemory;
    private @Nullable Long oomKills;
    private @Nullable Duration cpuTime;
    private @Nullable Duration userCpuTime;
    private @Nullable Duration systemCpuTime;
    private @Nullable Duration throttledTime;
    private @Nullable DiskUse imageDisk;
    private @Nullable DiskUse scratchDisk;
    private @Nullable Long processes;
    private @Nullable Long processPeak;
    private @Nullable Long processLimit;
    private @Nullable Pressure cpuPressure;
    private @Nullable Pressure memoryPressure;
    private @Nullable Pressure ioPressure;
    private @Nullable DataSize availableMemory;
    private @Nullable Double load;
    private Map<String, NetworkUse> interfaces = Map.of();
    private @Nullable Long openFiles;
    private @Nullable Long openFilesLimit;

    private Builder(Duration uptime) {
      this.uptime = Objects.requireNonNull(uptime);
    }

    /** As {@link GuestStatistics#memory()}. */
    public Builder memory(@Nullable DataSize memory) {
      this.memory = memory;
      return this;
    }

    /** As {@link GuestStatistics#memoryPeak()}. */
    public Builder memoryPeak(@Nullable DataSize memoryPeak) {
      this.memoryPeak = memoryPeak;
      return this;
    }

    /** As {@link GuestStatistics#memoryLimit()}. */
    public Builder memoryLimit(@Nullable DataSize memoryLimit) {
      this.memoryLimit = memoryLimit;
      return this;
    }

    /** As {@link GuestStatistics#anonymousMemory()}. */
    public Builder anonymousMemory(@Nullable DataSize anonymousMemory) {
      this.anonymousMemory = anonymousMemory;
      return this;
    }

    /** As {@link GuestStatistics#fileMemory()}. */
    public Builder fileMemory(@Nullable DataSize fileMemory) {
      this.fileMemory = fileMemory;
      return this;
    }

    /** As {@link GuestStatistics#kernelMemory()}. */
    public Builder kernelMemory(@Nullable DataSize kernelMemory) {
      this.kernelMemory = kernelMemory;
      return this;
    }

    /** As {@link GuestStatistics#oomKills()}. */
    public Builder oomKills(@Nullable Long oomKills) {
      this.oomKills = oomKills;
      return this;
    }

    /** As {@link GuestStatistics#cpuTime()}. */
    public Builder cpuTime(@Nullable Duration cpuTime) {
      this.cpuTime = cpuTime;
      return this;
    }

    /** As {@link GuestStatistics#userCpuTime()}. */
    public Builder userCpuTime(@Nullable Duration userCpuTime) {
      this.userCpuTime = userCpuTime;
      return this;
    }

    /** As {@link GuestStatistics#systemCpuTime()}. */
    public Builder systemCpuTime(@Nullable Duration systemCpuTime) {
      this.systemCpuTime = systemCpuTime;
      return this;
    }

    /** As {@link GuestStatistics#throttledTime()}. */
    public Builder throttledTime(@Nullable Duration throttledTime) {
      this.throttledTime = throttledTime;
      return this;
    }

    /** As {@link GuestStatistics#imageDisk()}. */
    public Builder imageDisk(@Nullable DiskUse imageDisk) {
      this.imageDisk = imageDisk;
      return this;
    }

    /** As {@link GuestStatistics#scratchDisk()}. */
    public Builder scratchDisk(@Nullable DiskUse scratchDisk) {
      this.scratchDisk = scratchDisk;
      return this;
    }

    /** As {@link GuestStatistics#processes()}. */
    public Builder processes(@Nullable Long processes) {
      this.processes = processes;
      return this;
    }

    /** As {@link GuestStatistics#processPeak()}. */
    public Builder processPeak(@Nullable Long processPeak) {
      this.processPeak = processPeak;
      return this;
    }

    /** As {@link GuestStatistics#processLimit()}. */
    public Builder processLimit(@Nullable Long processLimit) {
      this.processLimit = processLimit;
      return this;
    }

    /** As {@link GuestStatistics#cpuPressure()}. */
    public Builder cpuPressure(@Nullable Pressure cpuPressure) {
      this.cpuPressure = cpuPressure;
      return this;
    }

    /** As {@link GuestStatistics#memoryPressure()}. */
    public Builder memoryPressure(@Nullable Pressure memoryPressure) {
      this.memoryPressure = memoryPressure;
      return this;
    }

    /** As {@link GuestStatistics#ioPressure()}. */
    public Builder ioPressure(@Nullable Pressure ioPressure) {
      this.ioPressure = ioPressure;
      return this;
    }

    /** As {@link GuestStatistics#availableMemory()}. */
    public Builder availableMemory(@Nullable DataSize availableMemory) {
      this.availableMemory = availableMemory;
      return this;
    }

    /** As {@link GuestStatistics#load()}. */
    public Builder load(@Nullable Double load) {
      this.load = load;
      return this;
    }

    /** As {@link GuestStatistics#interfaces()}; copies the map. */
    public Builder interfaces(Map<String, NetworkUse> interfaces) {
      this.interfaces = Map.copyOf(interfaces);
      return this;
    }

    /** As {@link GuestStatistics#openFiles()}. */
    public Builder openFiles(@Nullable Long openFiles) {
      this.openFiles = openFiles;
      return this;
    }

    /** As {@link GuestStatistics#openFilesLimit()}. */
    public Builder openFilesLimit(@Nullable Long openFilesLimit) {
      this.openFilesLimit = openFilesLimit;
      return this;
    }

    /** The statistics. */
    public GuestStatistics build() {
      return new GuestStatistics(this);
    }
  }
}
