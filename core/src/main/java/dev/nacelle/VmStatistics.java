// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/** Counters of a virtual machine at one moment. Immutable. */
public final class VmStatistics {
  private final OptionalLong firstRunNanoTime;
  private final Map<String, Long> exits;
  private final Map<String, Long> ignored;
  private final @Nullable Duration cpuTime;
  private final Map<String, DiskUse> disks;
  private final @Nullable DataSize memory;

  private VmStatistics(
      OptionalLong firstRunNanoTime,
      Map<String, Long> exits,
      Map<String, Long> ignored,
      @Nullable Duration cpuTime,
      Map<String, DiskUse> disks,
      @Nullable DataSize memory) {
    this.firstRunNanoTime = firstRunNanoTime;
    this.exits = Map.copyOf(exits);
    this.ignored = Map.copyOf(ignored);
    this.cpuTime = cpuTime;
    this.disks = Map.copyOf(disks);
    this.memory = memory;
  }

  /** Before the first vCPU runs, with what the getters of the same names tell; copies the maps. */
  public static VmStatistics of(Map<String, Long> exits, Map<String, Long> ignored) {
    return new VmStatistics(OptionalLong.empty(), exits, ignored, null, Map.of(), null);
  }

  /** With what the getters of the same names tell; copies the maps. */
  public static VmStatistics of(
      long firstRunNanoTime, Map<String, Long> exits, Map<String, Long> ignored) {
    return new VmStatistics(
        OptionalLong.of(firstRunNanoTime), exits, ignored, null, Map.of(), null);
  }

  /** The same with {@link #disks()}; copies the map. */
  public VmStatistics withDisks(Map<String, DiskUse> use) {
    return new VmStatistics(firstRunNanoTime, exits, ignored, cpuTime, use, memory);
  }

  /** The same with {@link #cpuTime()}. */
  public VmStatistics withCpuTime(Duration time) {
    return new VmStatistics(
        firstRunNanoTime, exits, ignored, Objects.requireNonNull(time), disks, memory);
  }

  /** The same with {@link #memory()}. */
  public VmStatistics withMemory(DataSize size) {
    return new VmStatistics(
        firstRunNanoTime, exits, ignored, cpuTime, disks, Objects.requireNonNull(size));
  }

  /**
   * {@link System#nanoTime()} just before the first vCPU first entered the guest; empty before
   * that.
   */
  public OptionalLong firstRunNanoTime() {
    return firstRunNanoTime;
  }

  /**
   * How often a vCPU left the guest for the host's user space, by reason: hypervisor's own names,
   * e.g. {@code "io:0x3f8:out"}.
   */
  public Map<String, Long> exits() {
    return exits;
  }

  /**
   * How often drivers of the guest did what the rules of their device forbid and the hypervisor let
   * pass without effect, by device and rule, in the hypervisor's own words.
   */
  public Map<String, Long> ignored() {
    return ignored;
  }

  /**
   * CPU time of the host that its vCPUs have taken, in the guest and in answering its exits, where
   * the hypervisor knows it.
   */
  public Optional<Duration> cpuTime() {
    return Optional.ofNullable(cpuTime);
  }

  /**
   * What was read from the files of its disks and written to them, by the disks' serial numbers: a
   * sandbox's are {@code rootfs} for the image, {@code scratch} for what it {@linkplain
   * WritableLayer#onDisk writes}, and {@code data-0}, {@code data-1} and so on for its {@linkplain
   * SandboxSpec#dataDisks data disks}. What the host read ahead is not in it, and a request of more
   * than 1 MiB counts as several. Empty where the hypervisor does not count it.
   */
  public Map<String, DiskUse> disks() {
    return disks;
  }

  /**
   * What its guest's memory takes of the host's now, where the hypervisor knows it: what the guest
   * has touched and not given back, and of its kernel's file, where that is {@linkplain
   * MemoryPolicy#DENSITY mapped}, what the host has in its cache, for all guests alike. With {@link
   * MemoryPolicy#HUGE_PAGES} all of it, from the start. Zero when it is closed.
   */
  public Optional<DataSize> memory() {
    return Optional.ofNullable(memory);
  }

  private List<@Nullable Object> state() {
    return Arrays.asList(firstRunNanoTime, exits, ignored, cpuTime, disks, memory);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof VmStatistics that && state().equals(that.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "exits "
        + exits
        + ", ignored "
        + ignored
        + (cpuTime == null ? "" : ", CPU time " + cpuTime)
        + (memory == null ? "" : ", memory " + memory);
  }
}
