// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Map;

/**
 * Counts exits by what caused them, in a fixed amount of memory: a guest that invents causes shares
 * one counter for those that came after the table was full. One thread counts, any thread reads.
 */
final class ExitCounters {
  private static final VarHandle ELEMENT = MethodHandles.arrayElementVarHandle(long[].class);

  private static final int CAPACITY = 512; // a power of two
  private static final int MAX_ENTRIES = CAPACITY * 3 / 4;

  // Kinds of key, in the top bits above any port and the guest's 52 address bits.
  private static final long PORT = 1L << 60;
  private static final long MMIO = 2L << 60;
  private static final long REASON = 3L << 60;
  private static final long WRITE = 1L << 59;
  private static final long DETAIL = WRITE - 1;

  /** Where what found no place is counted: behind the table. */
  private static final int OTHERS = CAPACITY;

  /** Open addressing; 0 is no key. Written before the first count, which publishes it. */
  private final long[] keys = new long[CAPACITY];

  private final long[] counts = new long[CAPACITY + 1];
  private int entries;

  void countPort(int port, boolean write) {
    count(PORT | (write ? WRITE : 0) | port);
  }

  void countMmio(long address, boolean write) {
    count(MMIO | (write ? WRITE : 0) | address & DETAIL);
  }

  /**
   * @param reason a KVM_EXIT_ reason
   */
  void countReason(int reason) {
    count(REASON | Integer.toUnsignedLong(reason));
  }

  private void count(long key) {
    int at = place(key);
    ELEMENT.setRelease(counts, at, counts[at] + 1);
  }

  private int place(long key) {
    int at = (int) (key * 0x9e37_79b9_7f4a_7c15L >>> 55); // Fibonacci hashing to 9 bits
    while (keys[at] != key) {
      if (keys[at] == 0) {
        if (entries == MAX_ENTRIES) {
          return OTHERS;
        }
        entries++;
        keys[at] = key;
        return at;
      }
      at = at + 1 & CAPACITY - 1;
    }
    return at;
  }

  /** Adds the counters to those in a map. */
  void addTo(Map<String, Long> sums) {
    for (int i = 0; i <= CAPACITY; i++) {
      long count = (long) ELEMENT.getAcquire(counts, i);
      if (count != 0) {
        sums.merge(i == OTHERS ? "others" : name(keys[i]), count, Long::sum);
      }
    }
  }

  private static String name(long key) {
    long detail = key & DETAIL;
    boolean write = (key & WRITE) != 0;
    if (key >>> 60 == PORT >>> 60) {
      return "io:0x" + Long.toHexString(detail) + (write ? ":out" : ":in");
    } else if (key >>> 60 == MMIO >>> 60) {
      return "mmio:0x" + Long.toHexString(detail) + (write ? ":write" : ":read");
    }
    return ExitReason.name((int) detail);
  }
}
