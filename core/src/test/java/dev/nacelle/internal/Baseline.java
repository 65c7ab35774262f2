// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * What this process holds of what virtual machines are made of at one moment, to find what is left
 * of those that come after.
 */
public final class Baseline {
  private final List<String> directories;
  private final Map<String, Integer> held;
  private final ThreadBaseline threads = ThreadBaseline.now();

  private Baseline(List<String> directories) throws IOException {
    this.directories = directories;
    held = held();
  }

  /**
   * What is held now.
   *
   * @param directories of disks, kernels and the like
   */
  public static Baseline now(Path... directories) throws IOException {
    return new Baseline(Stream.of(directories).map(Path::toString).toList());
  }

  /**
   * Fails unless as many files are open and mapped as then, once what ends had time to. Where a
   * system does not tell those: unless there are as many below the directories.
   */
  public void assertFilesAsBefore() throws IOException, InterruptedException {
    for (long end = System.nanoTime() + ThreadBaseline.PATIENCE_NANOS;
        System.nanoTime() - end < 0; ) {
      if (held().equals(held)) {
        return;
      }
      Thread.sleep(10);
    }
    assertEquals(held, held());
  }

  /** As {@link ThreadBaseline#assertEnded()}. */
  public void assertThreadsEnded() throws InterruptedException {
    threads.assertEnded();
  }

  /**
   * How many open files and mappings there are of each name: files without one, which are KVM's,
   * events and what was deleted, devices but those of random numbers, and those below the
   * directories.
   */
  private Map<String, Integer> held() throws IOException {
    List<String> names = new ArrayList<>();
    if (!Files.exists(Path.of("/proc/self/fd"))) {
      return existing();
    }
    OpenFiles.targets().forEach(file -> names.add(file.toString()));
    Files.readAllLines(Path.of("/proc/self/maps")).stream()
        .map(line -> line.split(" +", 6))
        .filter(words -> words.length > 5)
        .forEach(words -> names.add("mapped " + words[5]));
    Map<String, Integer> counts = new TreeMap<>();
    for (String name : names) {
      if (name.contains("anon_inode:")
          || name.contains("/dev/") && !name.endsWith("random")
          || name.contains("(deleted)")
          || directories.stream().anyMatch(name::contains)) {
        counts.merge(name, 1, Integer::sum);
      }
    }
    return counts;
  }

  private Map<String, Integer> existing() throws IOException {
    Map<String, Integer> found = new TreeMap<>();
    for (String directory : directories) {
      try (Stream<Path> files = Files.walk(Path.of(directory))) {
        files.forEach(file -> found.put(file.toString(), 1));
      }
    }
    return found;
  }
}
