// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.ext4;

import java.util.Comparator;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Free runs of blocks, found by place (to join neighbours) and by length (best fit). */
final class FreeRuns {
  private final TreeMap<Long, Long> lengthByStart = new TreeMap<>();
  private final TreeSet<Run> byLength =
      new TreeSet<>(Comparator.comparingLong(Run::length).thenComparingLong(Run::start));

  /** Blocks {@code start} to {@code start + length - 1}. */
  record Run(long start, long length) {
    long end() {
      return start + length;
    }
  }

  void add(Run run) {
    if (run.length == 0) {
      return;
    }
    long start = run.start;
    long end = run.end();
    Map.Entry<Long, Long> before = lengthByStart.floorEntry(start);
    if (before != null && before.getKey() + before.getValue() == start) {
      remove(new Run(before.getKey(), before.getValue()));
      start = before.getKey();
    }
    Long after = lengthByStart.get(end);
    if (after != null) {
      remove(new Run(end, after));
      end += after;
    }
    lengthByStart.put(start, end - start);
    byLength.add(new Run(start, end - start));
  }

  /** So many blocks of the shortest run that has them; null if there is none. */
  @Nullable Run take(long length) {
    Run fit = byLength.ceiling(new Run(0, length));
    if (fit == null) {
      return null;
    }
    remove(fit);
    add(new Run(fit.start + length, fit.length - length));
    return new Run(fit.start, length);
  }

  private void remove(Run run) {
    lengthByStart.remove(run.start);
    byLength.remove(run);
  }

  /** The runs that touch {@code [from, to)}: length by start, in order. */
  SortedMap<Long, Long> overlapping(long from, long to) {
    Long before = lengthByStart.lowerKey(from);
    return lengthByStart.subMap(before == null ? from : before, to);
  }
}
