// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import dev.nacelle.kvm.sys.KvmCpuid;
import java.util.Arrays;
import java.util.NavigableMap;
import java.util.Set;
import java.util.TreeMap;

/** CPUID's answers by leaf and subleaf; absent ones are zeros. */
final class CpuidTable {
  /** Leaves whose answer depends on the subleaf; the others answer any alike. */
  private static final Set<Integer> INDEXED = Set.of(4, 7, 0xb, 0xd, 0x8000_001d);

  private final NavigableMap<Long, int[]> answers = new TreeMap<>(Long::compareUnsigned);

  /** Empty. */
  CpuidTable() {}

  /** A copy of what KVM says. */
  CpuidTable(KvmCpuid cpuid) {
    for (int n = 0; n < cpuid.count(); n++) {
      for (Register register : Register.values()) {
        set(cpuid.leaf(n), cpuid.subleaf(n), register, cpuid.get(n, register.offset));
      }
    }
  }

  CpuidTable copy() {
    CpuidTable copy = new CpuidTable();
    answers.forEach((key, answer) -> copy.answers.put(key, answer.clone()));
    return copy;
  }

  private static long key(int leaf, int subleaf) {
    return Integer.toUnsignedLong(leaf) << 32 | Integer.toUnsignedLong(subleaf);
  }

  int get(int leaf, int subleaf, Register register) {
    int[] answer = answers.get(key(leaf, subleaf));
    return answer == null ? 0 : answer[register.index];
  }

  void set(int leaf, int subleaf, Register register, int value) {
    answers.computeIfAbsent(key(leaf, subleaf), absent -> new int[4])[register.index] = value;
  }

  void set(int leaf, int subleaf, int eax, int ebx, int ecx, int edx) {
    answers.put(key(leaf, subleaf), new int[] {eax, ebx, ecx, edx});
  }

  boolean has(Feature feature) {
    return (get(feature.leaf, feature.subleaf, feature.register) & feature.mask()) != 0;
  }

  void set(Feature feature, boolean value) {
    int others = get(feature.leaf, feature.subleaf, feature.register) & ~feature.mask();
    set(feature.leaf, feature.subleaf, feature.register, value ? others | feature.mask() : others);
  }

  /** Has a leaf answer zeros in all its subleaves. */
  void removeLeaf(int leaf) {
    answers.subMap(key(leaf, 0), true, key(leaf, -1), true).clear();
  }

  /** The subleaves of a leaf that are there, in their order. */
  int[] subleaves(int leaf) {
    return answers.subMap(key(leaf, 0), true, key(leaf, -1), true).keySet().stream()
        .mapToInt(Long::intValue)
        .toArray();
  }

  /** The leaves that are there, without doubles, in their unsigned order. */
  int[] leaves() {
    return answers.keySet().stream().mapToInt(key -> (int) (key >>> 32)).distinct().toArray();
  }

  /** Drops what answers zeros, as an absent leaf does. */
  void removeZeros() {
    answers.values().removeIf(answer -> Arrays.stream(answer).allMatch(value -> value == 0));
  }

  KvmCpuid toKvm() {
    KvmCpuid cpuid = KvmCpuid.empty();
    answers.forEach(
        (key, answer) -> {
          int leaf = (int) (key >>> 32);
          cpuid.add(
              leaf,
              key.intValue(),
              INDEXED.contains(leaf),
              answer[0],
              answer[1],
              answer[2],
              answer[3]);
        });
    return cpuid;
  }
}
