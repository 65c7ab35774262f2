// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.DataSize;
import dev.nacelle.DiskUse;
import dev.nacelle.GuestStatistics;
import dev.nacelle.NetworkUse;
import dev.nacelle.Pressure;
import dev.nacelle.proto.agent.v1.Stall;
import dev.nacelle.proto.agent.v1.Statistics;
import dev.nacelle.proto.agent.v1.Traffic;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Reads what the guest says of its use; what it may say is bounded. */
final class StatisticsReader {
  /** What the kernel's own averages are at most: 100 %, in hundredths. */
  private static final int ALL = 100_00;

  /** More than there are in what the agent reads, 4 KiB of which has a line for each. */
  private static final int MAX_INTERFACES = 64;

  private StatisticsReader() {}

  static GuestStatistics read(Statistics told) {
    return GuestStatistics.builder(nanos(told.getBoottimeNanos()))
        .memory(told.hasMemoryBytes() ? bytes(told.getMemoryBytes()) : null)
        .memoryPeak(told.hasMemoryPeakBytes() ? bytes(told.getMemoryPeakBytes()) : null)
        .memoryLimit(told.hasMemoryLimitBytes() ? bytes(told.getMemoryLimitBytes()) : null)
        .anonymousMemory(
            told.hasMemoryAnonymousBytes() ? bytes(told.getMemoryAnonymousBytes()) : null)
        .fileMemory(told.hasMemoryFileBytes() ? bytes(told.getMemoryFileBytes()) : null)
        .kernelMemory(told.hasMemoryKernelBytes() ? bytes(told.getMemoryKernelBytes()) : null)
        .oomKills(told.hasOomKills() ? count(told.getOomKills()) : null)
        .cpuTime(told.hasCpuNanos() ? nanos(told.getCpuNanos()) : null)
        .userCpuTime(told.hasCpuUserNanos() ? nanos(told.getCpuUserNanos()) : null)
        .systemCpuTime(told.hasCpuSystemNanos() ? nanos(told.getCpuSystemNanos()) : null)
        .throttledTime(told.hasCpuThrottledNanos() ? nanos(told.getCpuThrottledNanos()) : null)
        .imageDisk(told.hasImageDisk() ? disk(told.getImageDisk()) : null)
        .scratchDisk(told.hasScratchDisk() ? disk(told.getScratchDisk()) : null)
        .processes(told.hasProcesses() ? count(told.getProcesses()) : null)
        .processPeak(told.hasProcessesPeak() ? count(told.getProcessesPeak()) : null)
        .processLimit(told.hasProcessesLimit() ? count(told.getProcessesLimit()) : null)
        .cpuPressure(told.hasCpuPressure() ? pressure(told.getCpuPressure()) : null)
        .memoryPressure(told.hasMemoryPressure() ? pressure(told.getMemoryPressure()) : null)
        .ioPressure(told.hasIoPressure() ? pressure(told.getIoPressure()) : null)
        .availableMemory(
            told.hasMachineMemoryAvailableBytes()
                ? bytes(told.getMachineMemoryAvailableBytes())
                : null)
        .load(
            told.hasMachineLoadHundredths()
                ? Integer.toUnsignedLong(told.getMachineLoadHundredths()) / 100.0
                : null)
        .interfaces(interfaces(told))
        .openFiles(told.hasOpenFiles() ? count(told.getOpenFiles()) : null)
        .openFilesLimit(told.hasOpenFilesLimit() ? count(told.getOpenFilesLimit()) : null)
        .build();
  }

  private static Map<String, NetworkUse> interfaces(Statistics told) {
    Map<String, NetworkUse> interfaces = new HashMap<>();
    told.getInterfacesList().stream()
        .limit(MAX_INTERFACES)
        .forEach(
            one ->
                interfaces.put(
                    GuestText.clean(one.getName()),
                    NetworkUse.of(traffic(one.getReceived()), traffic(one.getSent()))));
    return interfaces;
  }

  private static NetworkUse.Traffic traffic(Traffic told) {
    return NetworkUse.Traffic.of(
        bytes(told.getBytes()),
        count(told.getPackets()),
        count(told.getErrors()),
        count(told.getDropped()));
  }

  static Pressure pressure(dev.nacelle.proto.agent.v1.Pressure told) {
    @Nullable Stall full = told.hasFull() ? told.getFull() : null;
    return Pressure.of(stall(told.getSome()), full == null ? null : stall(full));
  }

  private static Pressure.Stall stall(Stall told) {
    return Pressure.Stall.of(
        percent(told.getAverage10Hundredths()),
        percent(told.getAverage60Hundredths()),
        nanos(told.getTotalNanos()));
  }

  private static double percent(int hundredths) {
    return Math.min(Integer.toUnsignedLong(hundredths), ALL) / 100.0;
  }

  private static DiskUse disk(dev.nacelle.proto.agent.v1.DiskUse told) {
    return DiskUse.of(
        bytes(told.getReadBytes()),
        bytes(told.getWrittenBytes()),
        count(told.getReads()),
        count(told.getWrites()));
  }

  private static DataSize bytes(long told) {
    return DataSize.bytes(count(told));
  }

  private static Duration nanos(long told) {
    return Duration.ofNanos(count(told));
  }

  private static long count(long told) {
    return AgentInfo.notNegative(told);
  }
}
