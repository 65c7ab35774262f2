// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.image;

import com.sun.management.GarbageCollectionNotificationInfo;
import dev.nacelle.benchmarks.Results;
import dev.nacelle.benchmarks.Samples;
import dev.nacelle.benchmarks.Table;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.store.ImageStore;
import java.io.IOException;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicLong;
import javax.management.NotificationEmitter;
import javax.management.openmbean.CompositeData;

/**
 * How fast a layer becomes a filesystem, in bytes of its tar archive, and the most that was
 * reachable on the heap after any garbage collection on the way. To be run with a small heap, so
 * that there are many collections.
 */
public final class LayerThroughput {
  private static final double MIB = 1 << 20;

  private LayerThroughput() {}

  /**
   * @param arguments the image's reference, the size of its tar archives in bytes, a directory for
   *     what is made, and how many rounds
   */
  public static void main(String... arguments) throws IOException {
    ImageRef ref = ImageRef.parse(arguments[0]);
    double mebibytes = Long.parseLong(arguments[1]) / MIB;
    int rounds = Integer.parseInt(arguments[3]);
    AtomicLong peak = new AtomicLong();
    for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
      ((NotificationEmitter) collector)
          .addNotificationListener(
              (notification, handback) ->
                  peak.accumulateAndGet(
                      heapAfter((CompositeData) notification.getUserData()), Math::max),
              null,
              null);
    }
    Samples nanos = new Samples();
    long highest = 0;
    try (Results results = new Results("layer-" + ref.tag().orElse("x"), "round,nanos,peak")) {
      for (int round = 0; round < rounds; round++) {
        Path store = Files.createTempDirectory(Path.of(arguments[2]), "store");
        peak.set(0);
        long began = System.nanoTime();
        Path made = new ImageStore(store).resolve(ref).filesystem();
        long took = System.nanoTime() - began;
        nanos.add(took);
        long roundPeak = peak.get();
        highest = Math.max(highest, roundPeak);
        results.add(round, took, roundPeak);
        Files.delete(made);
      }
    }
    System.out.printf(
        "%s: median %.0f MiB/s (%.0f to %.0f), n = %d; heap after collection at most"
            + " %.1f MiB%n",
        ref,
        mebibytes / (nanos.median() / 1e9),
        mebibytes / (nanos.max() / 1e9),
        mebibytes / (nanos.min() / 1e9),
        rounds,
        highest / MIB);
    System.out.print(Table.ofMillis("layer").nanos(String.valueOf(ref), nanos));
  }

  private static long heapAfter(CompositeData data) {
    GarbageCollectionNotificationInfo info = GarbageCollectionNotificationInfo.from(data);
    return info.getGcInfo().getMemoryUsageAfterGc().entrySet().stream()
        .filter(pool -> isHeap(pool.getKey()))
        .mapToLong(pool -> pool.getValue().getUsed())
        .sum();
  }

  private static boolean isHeap(String pool) {
    return ManagementFactory.getMemoryPoolMXBeans().stream()
        .anyMatch(bean -> bean.getName().equals(pool) && bean.getType() == MemoryType.HEAP);
  }
}
