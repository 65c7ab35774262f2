// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.util.function.IntPredicate;

/** struct kvm_cpuid2 with its entries (KVM API section 4.20): what CPUID tells the guest. */
public final class KvmCpuid extends NativeStruct {
  /** What the kernel has room for (KVM_MAX_CPUID_ENTRIES). */
  static final int CAPACITY = 256;

  static final int HEADER_SIZE = 8;
  static final int ENTRY_SIZE = 40;

  /** In an entry's flags: the index in ECX matters. */
  private static final int KVM_CPUID_FLAG_SIGNIFICANT_INDEX = 1;

  public static final int EAX = 12;
  public static final int EBX = 16;
  public static final int ECX = 20;
  public static final int EDX = 24;

  private KvmCpuid() {
    super(HEADER_SIZE + CAPACITY * ENTRY_SIZE);
  }

  /** Without entries. */
  public static KvmCpuid empty() {
    return new KvmCpuid();
  }

  /** Room for the kernel to put entries into. */
  static KvmCpuid room() {
    KvmCpuid cpuid = new KvmCpuid();
    cpuid.bytes().putInt(0, CAPACITY);
    return cpuid;
  }

  /** A copy that can be changed apart from this. */
  public KvmCpuid copy() {
    KvmCpuid copy = new KvmCpuid();
    copy.bytes().put(0, bytes(), 0, size());
    return copy;
  }

  /** The number of entries. */
  public int count() {
    return bytes().getInt(0);
  }

  /** The leaf (EAX) of the n-th entry. */
  public int leaf(int n) {
    return bytes().getInt(offset(n));
  }

  /** The subleaf (ECX) of the n-th entry. */
  public int subleaf(int n) {
    return bytes().getInt(offset(n) + 4);
  }

  /** One of the four results of the n-th entry. */
  public int get(int n, int register) {
    return bytes().getInt(offset(n) + register);
  }

  /** Changes one of the four results of the n-th entry. */
  public void set(int n, int register, int value) {
    bytes().putInt(offset(n) + register, value);
  }

  /** Adds an entry whose subleaf matters. */
  public void add(int leaf, int subleaf, int eax, int ebx, int ecx, int edx) {
    int n = count();
    if (n == CAPACITY) {
      throw new IllegalStateException("more than " + CAPACITY + " CPUID entries");
    }
    bytes()
        .putInt(0, n + 1)
        .putInt(offset(n), leaf)
        .putInt(offset(n) + 4, subleaf)
        .putInt(offset(n) + 8, KVM_CPUID_FLAG_SIGNIFICANT_INDEX)
        .putInt(offset(n) + EAX, eax)
        .putInt(offset(n) + EBX, ebx)
        .putInt(offset(n) + ECX, ecx)
        .putInt(offset(n) + EDX, edx);
  }

  /** Removes the entries of some leaves, so that CPUID answers zeros there. */
  public void removeLeaves(IntPredicate leaves) {
    int kept = 0;
    for (int n = 0; n < count(); n++) {
      if (!leaves.test(leaf(n))) {
        if (kept != n) {
          bytes().put(offset(kept), bytes().duplicate(), offset(n), ENTRY_SIZE);
        }
        kept++;
      }
    }
    bytes().putInt(0, kept);
  }

  private static int offset(int n) {
    return HEADER_SIZE + n * ENTRY_SIZE;
  }
}
