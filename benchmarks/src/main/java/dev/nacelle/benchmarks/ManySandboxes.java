// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.DataSize;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * What sandboxes of one process cost each other: they are started one after the other, run nothing,
 * and are closed together with their runtime.
 */
public final class ManySandboxes {
  private static final DataSize MEMORY = DataSize.mebibytes(64);

  /** From when on sandboxes count as idle. */
  private static final long SETTLE_MILLIS = 3000;

  private static final long IDLE_MILLIS = 5000;

  private ManySandboxes() {}

  /**
   * @param arguments the cache's directory, a kernel, an image, and how many sandboxes, each a row
   */
  public static void main(String... arguments) throws IOException {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(arguments[2])
            .kernel(arguments[1])
            .memory(MEMORY)
            .memoryPolicy(MemoryPolicy.DENSITY)
            .startTimeout(Duration.ofMinutes(10))
            .build();
    Path cache = Path.of(arguments[0]);
    Table table =
        new Table(
            "sandboxes",
            "start ms, median",
            "the last",
            "exec ms in the last",
            "threads each",
            "descriptors each",
            "KiB each, besides RAM",
            "of a core idle, % each",
            "close all ms");
    try (Results results = new Results("sandboxes", "sandboxes,what,value")) {
      try (Nacelle nacelle = Nacelle.builder().cacheDirectory(cache).build();
          Sandbox first = nacelle.start(spec)) {
        first.exec("true"); // classes, compiled code
      }
      for (String count : List.of(arguments).subList(3, arguments.length)) {
        measure(cache, spec, Integer.parseInt(count), results, table);
      }
    }
    System.out.print(table);
  }

  private static void measure(Path cache, SandboxSpec spec, int count, Results results, Table table)
      throws IOException {
    String row = String.valueOf(count);
    Samples starts = new Samples();
    List<Sandbox> sandboxes = new ArrayList<>();
    long threads;
    long descriptors;
    long resident;
    double cpu;
    long exec;
    long began;
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(cache).build()) {
      long threadsBefore = entries("/proc/self/task");
      long descriptorsBefore = entries("/proc/self/fd");
      long residentBefore = resident();
      double cpuBefore = idleCpu();
      for (int i = 0; i < count; i++) {
        long start = System.nanoTime();
        sandboxes.add(nacelle.start(spec));
        starts.add(System.nanoTime() - start);
        results.add(row, "start_ns", starts.get(i));
      }
      Sandbox last = sandboxes.get(count - 1);
      last.exec("true"); // its first one, which makes more than a process
      long start = System.nanoTime();
      last.exec("true");
      exec = System.nanoTime() - start;
      threads = entries("/proc/self/task") - threadsBefore;
      descriptors = entries("/proc/self/fd") - descriptorsBefore;
      resident = resident() - residentBefore;
      cpu = idleCpu() - cpuBefore;
      began = System.nanoTime();
    }
    long closed = System.nanoTime() - began;
    double each = count;
    results.add(row, "exec_ns", exec);
    results.add(row, "threads_each", threads / each);
    results.add(row, "descriptors_each", descriptors / each);
    results.add(row, "resident_bytes_each", resident / each);
    results.add(row, "idle_cpu_each", cpu / each);
    results.add(row, "close_all_ns", closed);
    table.row(
        row,
        Table.millis(starts.median()),
        Table.millis(starts.get(count - 1)),
        Table.millis(exec),
        String.format(Locale.ROOT, "%.1f", threads / each),
        String.format(Locale.ROOT, "%.1f", descriptors / each),
        Table.kib(resident / each),
        String.format(Locale.ROOT, "%.3f", 100 * cpu / each),
        Table.millis(closed));
  }

  /** With what one collection leaves of the heap. */
  private static long resident() {
    System.gc();
    return MemoryUse.besidesGuests();
  }

  /**
   * The share of one processor that this process takes, guests included, while nothing is asked of
   * it.
   */
  private static double idleCpu() throws IOException {
    try {
      Thread.sleep(SETTLE_MILLIS);
      long start = System.nanoTime();
      Map<Path, Long> before = processorNanos();
      Thread.sleep(IDLE_MILLIS);
      long[] used = new long[1];
      processorNanos()
          .forEach((thread, nanos) -> used[0] += nanos - before.getOrDefault(thread, 0L));
      return (double) used[0] / (System.nanoTime() - start);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Processor time of each thread that there is, the guests' in it (sched-stats.rst). */
  private static Map<Path, Long> processorNanos() throws IOException {
    Map<Path, Long> nanos = new HashMap<>();
    try (Stream<Path> threads = Files.list(Path.of("/proc/self/task"))) {
      for (Path thread : threads.toList()) {
        try {
          String statistics = Files.readString(thread.resolve("schedstat"));
          nanos.put(thread, Long.parseLong(statistics.substring(0, statistics.indexOf(' '))));
        } catch (IOException e) {
          // It has ended meanwhile.
        }
      }
    }
    return nanos;
  }

  private static long entries(String directory) throws IOException {
    try (Stream<Path> entries = Files.list(Path.of(directory))) {
      return entries.count();
    }
  }
}
