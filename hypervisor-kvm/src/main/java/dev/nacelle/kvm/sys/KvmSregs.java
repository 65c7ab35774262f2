// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** struct kvm_sregs of x86 (KVM API section 4.13). */
public final class KvmSregs extends NativeStruct {
  public static final int CS = 0;
  public static final int DS = 24;
  public static final int ES = 48;
  public static final int FS = 72;
  public static final int GS = 96;
  public static final int SS = 120;
  public static final int TR = 144;
  public static final int LDT = 168;
  public static final int GDT = 192;
  public static final int IDT = 208;
  public static final int CR0 = 224;
  public static final int CR3 = 240;
  public static final int CR4 = 248;
  public static final int EFER = 264;

  static final int SIZE = 312;

  private static final int TABLE_LIMIT = 8;

  public KvmSregs() {
    super(SIZE);
  }

  /** Reads a control register by its offset. */
  public long get(int register) {
    return bytes().getLong(register);
  }

  /** Writes a control register by its offset. */
  public KvmSregs set(int register, long value) {
    bytes().putLong(register, value);
    return this;
  }

  /** Sets GDT or IDT. */
  public KvmSregs setTable(int table, long base, int limit) {
    bytes().putLong(table, base).putShort(table + TABLE_LIMIT, (short) limit);
    return this;
  }

  /**
   * Loads a segment register, hidden part included, as the processor would from its descriptor
   * (Intel SDM volume 3, section 3.4.5, figure 3-8).
   *
   * @param segment CS to LDT
   * @param descriptor the 8 bytes of the descriptor; system descriptors with a base below 4 GiB
   */
  public KvmSregs setSegment(int segment, int selector, long descriptor) {
    long base = descriptor >>> 16 & 0xff_ffff | descriptor >>> 32 & 0xff00_0000L;
    long limit = descriptor & 0xffff | descriptor >>> 32 & 0xf_0000;
    boolean pages = (descriptor >>> 55 & 1) != 0;
    bytes()
        .putLong(segment, base)
        .putInt(segment + 8, (int) (pages ? limit << 12 | 0xfff : limit))
        .putShort(segment + 12, (short) selector)
        .put(segment + 14, (byte) (descriptor >>> 40 & 0xf)) // type
        .put(segment + 15, (byte) (descriptor >>> 47 & 1)) // present
        .put(segment + 16, (byte) (descriptor >>> 45 & 3)) // dpl
        .put(segment + 17, (byte) (descriptor >>> 54 & 1)) // db
        .put(segment + 18, (byte) (descriptor >>> 44 & 1)) // s
        .put(segment + 19, (byte) (descriptor >>> 53 & 1)) // l
        .put(segment + 20, (byte) (pages ? 1 : 0)) // g
        .put(segment + 21, (byte) (descriptor >>> 52 & 1)) // avl
        .put(segment + 22, (byte) 0); // unusable
    return this;
  }
}
