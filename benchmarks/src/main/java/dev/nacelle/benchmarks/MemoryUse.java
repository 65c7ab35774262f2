// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What this process holds, and the kernel for it and everybody else, at one moment (proc(5)).
 *
 * @param parts bytes by what they are
 */
public record MemoryUse(Map<String, Long> parts) {
  /**
   * Parts of /proc/meminfo that are neither pages of a process nor of a file. Not KernelStack,
   * which is part of VmallocUsed (CONFIG_VMAP_STACK).
   */
  private static final List<String> KERNEL_PARTS =
      List.of("Slab", "VmallocUsed", "PageTables", "SecPageTables", "Percpu");

  private static final Pattern MAPPING = Pattern.compile("([0-9a-f]+)-([0-9a-f]+) .*");
  private static final Pattern KIB = Pattern.compile("(\\w+): +(\\d+) kB");
  private static final int COLLECTIONS = 4;

  /** A range of this process's addresses. */
  public record Range(long start, long length) {}

  /**
   * Collects garbage, then reads.
   *
   * @param guests the mappings that are guests' RAM, which is counted apart
   */
  public static MemoryUse now(List<Range> guests) {
    // Cleaners of what one collection found unreachable make more of it unreachable.
    for (int i = 0; i < COLLECTIONS; i++) {
      System.gc();
    }
    Runtime runtime = Runtime.getRuntime();
    long heap = runtime.totalMemory() - runtime.freeMemory();

    long resident = 0;
    long guestResident = 0;
    boolean guest = false;
    for (String line : lines("/proc/self/smaps")) {
      Matcher mapping = MAPPING.matcher(line);
      if (mapping.matches()) {
        guest = isGuests(mapping, guests);
      } else if (line.startsWith("Rss:")) {
        if (guest) {
          guestResident += kib(line);
        } else {
          resident += kib(line);
        }
      }
    }
    Map<String, Long> parts = new LinkedHashMap<>();
    parts.put("heap, reachable", heap);
    parts.put("native, resident", resident);
    long all = heap + resident;
    for (String line : lines("/proc/meminfo")) {
      String name = line.substring(0, line.indexOf(':'));
      if (KERNEL_PARTS.contains(name)) {
        parts.put("kernel, " + name, kib(line));
        all += kib(line);
      }
    }
    parts.put("all of these", all);
    parts.put("apart: guest RAM, resident", guestResident);
    return new MemoryUse(parts);
  }

  /** Bytes of guests' RAM that nobody else has. */
  public static long ofGuestsAlone() {
    return sum("Private_Dirty:", true);
  }

  /** Resident bytes of this process that are not guests' RAM: heap, stacks, code, all. */
  public static long besidesGuests() {
    return sum("Rss:", false);
  }

  /**
   * Sums up one value of smaps over the mappings that are, or are not, kept out of children and
   * core dumps, as only guests' are (proc_pid_smaps(5)).
   */
  private static long sum(String value, boolean ofGuests) {
    long sum = 0;
    long own = 0;
    for (String line : lines("/proc/self/smaps")) {
      if (line.startsWith(value)) {
        own = kib(line);
      } else if (line.startsWith("VmFlags:")
          && ofGuests == (line.contains(" dc ") && line.contains(" dd "))) {
        sum += own;
      }
    }
    return sum;
  }

  /** Adjacent guests share a mapping: it is theirs when one of them starts inside. */
  private static boolean isGuests(Matcher mapping, List<Range> guests) {
    long start = Long.parseUnsignedLong(mapping.group(1), 16);
    long end = Long.parseUnsignedLong(mapping.group(2), 16);
    return guests.stream().anyMatch(guest -> guest.start >= start && guest.start < end);
  }

  private static long kib(String line) {
    Matcher matcher = KIB.matcher(line);
    if (!matcher.matches()) {
      throw new IllegalStateException("not a size: " + line);
    }
    return Long.parseLong(matcher.group(2)) * 1024;
  }

  private static List<String> lines(String file) {
    try {
      return Files.readAllLines(Path.of(file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
