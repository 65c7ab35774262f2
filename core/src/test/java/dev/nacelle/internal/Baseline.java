// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * What this process holds of what virtual machines are made of at one moment, to find what is left
 * of those that come after.
 */
public final class Baseline {
  /**
   * What is closed or killed may still be on its way out; and threads of the JDK's own, for child
   * processes and the common pool, end when they have had nothing to do for a minute.
   */
  private static final long PATIENCE_NANOS = TimeUnit.MINUTES.toNanos(2);

  /** JNA's and JUnit's: one each, from their first use to the end of the process. */
  private static final Set<String> THREADS_OF_THE_PROCESS =
      Set.of("JNA Cleaner", "junit-jupiter-timeout-watcher");

  private final List<String> directories;
  private final Map<String, Integer> held;
  private final Set<Thread> threads = Thread.getAllStackTraces().keySet();

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

  /** Fails unless as many files are open and mapped as then, once what ends had time to. */
  public void assertFilesAsBefore() throws IOException, InterruptedException {
    for (long end = System.nanoTime() + PATIENCE_NANOS; System.nanoTime() - end < 0; ) {
      if (held().equals(held)) {
        return;
      }
      Thread.sleep(10);
    }
    assertEquals(held, held());
  }

  /** Fails unless every thread that was started since has ended, whatever its name. */
  public void assertThreadsEnded() throws InterruptedException {
    long end = System.nanoTime() + PATIENCE_NANOS;
    List<String> left = new ArrayList<>();
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (!threads.contains(thread) && !THREADS_OF_THE_PROCESS.contains(thread.getName())) {
        TimeUnit.NANOSECONDS.timedJoin(thread, end - System.nanoTime());
        if (thread.isAlive()) {
          left.add(thread + " of " + thread.getClass().getName());
        }
      }
    }
    assertEquals(List.of(), left);
  }

  /**
   * How many open files and mappings there are of each name: files without one, which are KVM's,
   * events and what was deleted, devices but those of random numbers, and those below the
   * directories.
   */
  private Map<String, Integer> held() throws IOException {
    List<String> names = new ArrayList<>();
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
}
