// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** struct kvm_msrs with its entries (KVM API section 4.18). */
public final class KvmMsrs extends NativeStruct {
  static final int HEADER_SIZE = 8;
  static final int ENTRY_SIZE = 16;

  /**
   * @param capacity the number of MSRs it has room for
   */
  public KvmMsrs(int capacity) {
    super(HEADER_SIZE + capacity * ENTRY_SIZE);
  }

  /** Adds a register. */
  public KvmMsrs add(int index, long value) {
    int entry = HEADER_SIZE + count() * ENTRY_SIZE;
    bytes().putInt(entry, index).putLong(entry + 8, value).putInt(0, count() + 1);
    return this;
  }

  /** The number of registers added. */
  public int count() {
    return bytes().getInt(0);
  }

  /** The index of the n-th register added. */
  public int index(int n) {
    return bytes().getInt(HEADER_SIZE + n * ENTRY_SIZE);
  }
}
