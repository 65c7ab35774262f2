// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.locks.LockSupport;

/** Figures of many at once. */
final class Crowd {
  private static final int COLLECTIONS = 3;

  private final Isolation isolation;
  private final Workload workload;
  private final List<String> command;
  private final Duration patience;

  /**
   * @param patience with each command
   */
  Crowd(Isolation isolation, Workload workload, List<String> command, Duration patience) {
    this.patience = patience;
    this.isolation = isolation;
    this.workload = workload;
    this.command = command;
  }

  /** Calls the command in an instance by so many threads, each once, at the same time: ns each. */
  static List<Double> execs(Instance instance, List<String> command, int atOnce)
      throws IOException {
    CountDownLatch ready = new CountDownLatch(atOnce);
    CountDownLatch go = new CountDownLatch(1);
    Callable<Double> call =
        () -> {
          ready.countDown();
          go.await();
          long start = System.nanoTime();
          instance.run(command).orThrow(command);
          return (double) (System.nanoTime() - start);
        };
    return together(
        atOnce,
        call,
        () -> {
          ready.await();
          go.countDown();
        });
  }

  private interface Start {
    void run() throws InterruptedException;
  }

  private static List<Double> together(int threads, Callable<Double> call, Start start)
      throws IOException {
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Future<Double>> calls = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        calls.add(pool.submit(call));
      }
      start.run();
      List<Double> values = new ArrayList<>();
      for (Future<Double> one : calls) {
        values.add(one.get());
      }
      return values;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted");
    } catch (ExecutionException e) {
      throw e.getCause() instanceof IOException cause ? cause : new IOException(e.getCause());
    } finally {
      pool.shutdownNow();
    }
  }

  /** Whole lives a second and processor, with a thread for each, and so many lives in each. */
  double rate(int lives) throws IOException {
    int processors = Runtime.getRuntime().availableProcessors();
    Callable<Double> call =
        () -> {
          for (int i = 0; i < lives; i++) {
            try (Running running = isolation.launch(workload, command)) {
              Patience.finish(running, command, patience).orThrow(command);
            }
          }
          return 0.0;
        };
    long start = System.nanoTime();
    together(processors, call, () -> {});
    return lives * 1e9 / (System.nanoTime() - start);
  }

  /** What many idle instances take. */
  interface Memory {
    /** So many take so many bytes each. */
    void each(int count, double bytes);

    /**
     * So many are in the budget.
     *
     * @param isFull whether one more was too much, or no more were tried
     */
    void density(int count, boolean isFull);
  }

  /**
   * Starts instances one after the other and has each run the idle probe.
   *
   * @param counts at which the memory of each is told, ascending
   * @param budget in bytes; 0 for none
   * @param most at which it ends though the budget is not used up
   * @param settling how long what is idle is left alone before its memory is told: guests give back
   *     what they do not use after some seconds
   */
  void memory(
      Path probe, List<Integer> counts, long budget, int most, Duration settling, Memory told)
      throws IOException {
    Deque<AutoCloseable> open = new ArrayDeque<>();
    try {
      // Of the first, classes are loaded, and what all share is made.
      start(probe, open);
      taken(List.of());
      close(open);
      List<Instance> instances = new ArrayList<>();
      LockSupport.parkNanos(settling.toNanos());
      long before = taken(instances);
      long available = Host.machineMemory("MemAvailable");
      int last = Math.max(counts.isEmpty() ? 0 : counts.get(counts.size() - 1), 0);
      boolean within = budget > 0;
      while (instances.size() < last || within && instances.size() < most) {
        instances.add(start(probe, open));
        if (counts.contains(instances.size())) {
          LockSupport.parkNanos(settling.toNanos());
          told.each(instances.size(), (taken(instances) - before) / (double) instances.size());
        }
        if (within && available - Host.machineMemory("MemAvailable") > budget) {
          within = false;
          told.density(instances.size() - 1, true);
        }
      }
      if (within) {
        told.density(instances.size(), false);
      }
    } finally {
      close(open);
    }
  }

  private Instance start(Path probe, Deque<AutoCloseable> open) throws IOException {
    Instance instance = isolation.start(workload);
    open.push(instance);
    if (!instance.hasIdleProcess()) {
      instance.put(probe, Probe.PATH);
      open.push(instance.start(List.of(Probe.PATH, "idle")));
    }
    instance.processes();
    return instance;
  }

  private static void close(Deque<AutoCloseable> open) throws IOException {
    Optional<Exception> failed = Optional.empty();
    while (!open.isEmpty()) {
      try {
        open.pop().close();
      } catch (Exception e) {
        failed = failed.or(() -> Optional.of(e));
      }
    }
    if (failed.isPresent()) {
      throw new IOException(failed.get().getMessage(), failed.get());
    }
  }

  /**
   * What this process's children and the instances have, and itself where it has a part in them:
   * after a collection, and of the heap, whose pages are all there from the beginning (../session),
   * what is in use.
   */
  private long taken(List<Instance> instances) throws IOException {
    Set<Long> processes = new HashSet<>();
    for (Instance instance : instances) {
      processes.addAll(instance.processes());
    }
    if (!isolation.hasPartInThisProcess()) {
      return Host.memoryOfAll(processes);
    }
    for (int i = 0; i < COLLECTIONS; i++) {
      System.gc();
    }
    processes.add(ProcessHandle.current().pid());
    return Host.memoryOfAll(processes) - Runtime.getRuntime().freeMemory();
  }
}
