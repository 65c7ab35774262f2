// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** struct kvm_regs of x86 (KVM API section 4.11): 18 registers of 8 bytes. */
public final class KvmRegs extends NativeStruct {
  public static final int RBX = 8;
  public static final int RSI = 32;
  public static final int RSP = 48;
  public static final int RBP = 56;
  public static final int RIP = 128;
  public static final int RFLAGS = 136;

  static final int SIZE = 144;

  public KvmRegs() {
    super(SIZE);
  }

  /** Reads a register by its offset. */
  public long get(int register) {
    return bytes().getLong(register);
  }

  /** Writes a register by its offset. */
  public KvmRegs set(int register, long value) {
    bytes().putLong(register, value);
    return this;
  }
}
