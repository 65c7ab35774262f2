// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

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

  /**
   * Adds an entry.
   *
   * @param indexed whether it answers for this subleaf only, rather than whatever ECX holds
   */
  public void add(int leaf, int subleaf, boolean indexed, int eax, int ebx, int ecx, int edx) {
    int n = count();
    if (n == CAPACITY) {
      throw new IllegalStateException("more than " + CAPACITY + " CPUID entries");
    }
    bytes()
        .putInt(0, n + 1)
        .putInt(offset(n), leaf)
        .putInt(offset(n) + 4, subleaf)
        .putInt(offset(n) + 8, indexed ? KVM_CPUID_FLAG_SIGNIFICANT_INDEX : 0)
        .putInt(offset(n) + EAX, eax)
        .putInt(offset(n) + EBX, ebx)
        .putInt(offset(n) + ECX, ecx)
        .putInt(offset(n) + EDX, edx);
  }

  private static int offset(int n) {
    return HEADER_SIZE + n * ENTRY_SIZE;
  }
}
