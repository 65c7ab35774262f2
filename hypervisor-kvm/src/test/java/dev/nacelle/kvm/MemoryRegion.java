// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A mapping of this process (proc_pid_smaps(5)); neighbours may be one.
 *
 * @param name of the file, empty for none
 * @param kib its sizes by their names, such as Size and Private_Dirty, in KiB
 * @param flags its VmFlags
 */
public record MemoryRegion(String name, Map<String, Long> kib, Set<String> flags) {
  /** All there are. */
  public static List<MemoryRegion> all() throws IOException {
    List<MemoryRegion> regions = new ArrayList<>();
    String name = "";
    Map<String, Long> kib = new HashMap<>();
    for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
      String[] words = line.split(" +", 6);
      if (!words[0].endsWith(":")) {
        name = words.length > 5 ? words[5] : "";
        kib = new HashMap<>();
      } else if (words[0].equals("VmFlags:")) {
        regions.add(new MemoryRegion(name, kib, Set.of(line.substring(8).strip().split(" "))));
      } else if (line.endsWith(" kB")) {
        kib.put(words[0].substring(0, words[0].length() - 1), Long.parseLong(words[1]));
      }
    }
    return regions;
  }

  /** Those of a file. */
  public static List<MemoryRegion> of(Path file) throws IOException {
    return all().stream().filter(region -> region.name.equals(file.toString())).toList();
  }

  /** The sum of a size, in KiB, of all of a file's. */
  public static long kib(Path file, String size) throws IOException {
    return of(file).stream().mapToLong(region -> region.kib.get(size)).sum();
  }

  /** Whether it is in no child and in no core dump, as nothing is but guest memory. */
  public boolean isKeptPrivate() {
    return flags.contains("dc") && flags.contains("dd");
  }
}
