// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.platform.MachineLayout;
import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;

/**
 * 64-bit mode with the first 4 GiB mapped one to one, as the 64-bit boot protocol wants it
 * (Documentation/arch/x86/boot.rst, section 1.15).
 */
public final class LongMode {
  /** Selectors that the protocol names __BOOT_CS and __BOOT_DS, and one that VMX wants in TR. */
  private static final int CODE_SELECTOR = 0x10;

  private static final int DATA_SELECTOR = 0x18;
  private static final int TASK_SELECTOR = 0x20;

  // Segment descriptors (Intel SDM volume 3, figure 3-8): flat, ring 0, accessed.
  private static final long CODE = 0x00af_9b00_0000_ffffL;

  // Control registers (Intel SDM volume 3, section 2.5) and IA32_EFER (section 2.2.1).
  private static final long CR0_PG = 1L << 31;
  private static final long CR4_PAE = 1 << 5;
  private static final long EFER_LME = 1 << 8;
  private static final long EFER_LMA = 1 << 10;

  // Page table entries (Intel SDM volume 3, section 4.5.4).
  private static final long PRESENT_WRITABLE = 3;
  private static final long LARGE_PAGE = 1 << 7;
  private static final int LARGE_PAGE_BITS = 21;
  private static final int ENTRIES = 512;
  private static final int PAGE = 4096;
  private static final int MAPPED_GIB = 4;

  private LongMode() {}

  /** Writes GDT and page tables. */
  static void writeTables(GuestMemory memory) {
    memory.putLong(MachineLayout.GDT + CODE_SELECTOR, CODE);
    memory.putLong(MachineLayout.GDT + DATA_SELECTOR, FlatSegments.DATA);
    memory.putLong(MachineLayout.GDT + TASK_SELECTOR, FlatSegments.TASK);

    long level4 = MachineLayout.PAGE_TABLES;
    long pointers = level4 + PAGE;
    long directories = pointers + PAGE;
    memory.putLong(level4, pointers | PRESENT_WRITABLE);
    for (int i = 0; i < MAPPED_GIB; i++) {
      memory.putLong(pointers + i * 8L, directories + i * (long) PAGE | PRESENT_WRITABLE);
    }
    for (long i = 0; i < MAPPED_GIB * ENTRIES; i++) {
      memory.putLong(directories + i * 8, i << LARGE_PAGE_BITS | LARGE_PAGE | PRESENT_WRITABLE);
    }
  }

  /**
   * Writes GDT and page tables, and tells the registers that use them.
   *
   * @param entry the first instruction's address
   * @param rsi what the first instruction finds in RSI: the zero page's address for Linux
   */
  public static InitialState enter(GuestMemory memory, long entry, long rsi) {
    writeTables(memory);
    return (regs, sregs) -> {
      regs.set(KvmRegs.RIP, entry)
          .set(KvmRegs.RSI, rsi)
          .set(KvmRegs.RSP, MachineLayout.BOOT_STACK)
          .set(KvmRegs.RBP, MachineLayout.BOOT_STACK)
          .set(KvmRegs.RFLAGS, FlatSegments.RFLAGS);
      FlatSegments.set(sregs, CODE_SELECTOR, CODE, DATA_SELECTOR, TASK_SELECTOR)
          .setTable(KvmSregs.GDT, MachineLayout.GDT, TASK_SELECTOR + 8 - 1)
          .set(KvmSregs.CR0, FlatSegments.CR0_PE | FlatSegments.CR0_ET | CR0_PG)
          .set(KvmSregs.CR3, MachineLayout.PAGE_TABLES)
          .set(KvmSregs.CR4, CR4_PAE)
          .set(KvmSregs.EFER, EFER_LME | EFER_LMA);
    };
  }
}
