// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinWorkerThread;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** The threads and child processes of this process at one moment, to find those that come after. */
public final class ThreadBaseline {
  /** What has been told to end may still be on its way out. */
  static final long PATIENCE_NANOS = TimeUnit.MINUTES.toNanos(2);

  /** JNA's and JUnit's: one each, from their first use to the end of the process. */
  private static final Set<String> THREADS_OF_THE_PROCESS =
      Set.of("JNA Cleaner", "junit-jupiter-timeout-watcher");

  private final Set<Thread> threads = Thread.getAllStackTraces().keySet();
  private final Set<ProcessHandle> children = children();

  private ThreadBaseline() {}

  /** What there is now. */
  public static ThreadBaseline now() {
    return new ThreadBaseline();
  }

  /**
   * Fails unless every thread that was started since has ended, whatever its name, and every child
   * process. The JDK keeps threads of its own for a while in which nothing needs them: those of the
   * common pool must have nothing to do, those for child processes have none, and one closes what
   * HttpURLConnection, which tests alone use, holds open.
   */
  public void assertEnded() throws InterruptedException {
    long end = System.nanoTime() + PATIENCE_NANOS;
    List<String> left = new ArrayList<>();
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (!threads.contains(thread) && !isKept(thread)) {
        TimeUnit.NANOSECONDS.timedJoin(thread, end - System.nanoTime());
        if (thread.isAlive()) {
          left.add(thread + " of " + thread.getClass().getName());
        }
      }
    }
    assertEquals(List.of(), left);
    assertTrue(
        ForkJoinPool.commonPool().awaitQuiescence(end - System.nanoTime(), TimeUnit.NANOSECONDS),
        "the common pool has something to do");
    Set<ProcessHandle> started = children();
    while (!children.containsAll(started) && System.nanoTime() - end < 0) {
      Thread.sleep(10);
      started = children();
    }
    started.removeAll(children);
    assertEquals(Set.of(), started, "child processes");
  }

  private static boolean isKept(Thread thread) {
    return THREADS_OF_THE_PROCESS.contains(thread.getName())
        || thread.getName().startsWith("process reaper")
        || thread.getName().equals("Keep-Alive-Timer")
        || thread instanceof ForkJoinWorkerThread worker
            && worker.getPool() == ForkJoinPool.commonPool();
  }

  private static Set<ProcessHandle> children() {
    return ProcessHandle.current().children().collect(Collectors.toSet());
  }
}
