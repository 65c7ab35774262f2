// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;

/** 32-bit mode without paging, as the PVH boot protocol wants it (Xen's docs/misc/pvh.pandoc). */
final class ProtectedMode {
  private static final int CODE_SELECTOR = 0x8;
  private static final int DATA_SELECTOR = 0x10;
  private static final int TASK_SELECTOR = 0x18;

  // Segment descriptors (Intel SDM volume 3, figure 3-8): flat, ring 0, accessed; a busy TSS.
  private static final long CODE = 0x00cf_9b00_0000_ffffL;
  private static final long DATA = 0x00cf_9300_0000_ffffL;
  private static final long TASK = 0x0000_8b00_0000_0067L;

  // CR0 (Intel SDM volume 3, section 2.5).
  private static final long CR0_PE = 1;
  private static final long CR0_ET = 1 << 4;

  /** RFLAGS with nothing set but the bit that is always one; interrupts are off. */
  private static final long RFLAGS = 2;

  private ProtectedMode() {}

  /**
   * The guest brings its own descriptor tables: those that the protocol gives it are in the
   * registers only.
   *
   * @param entry the first instruction's address
   * @param startInfo what it finds in EBX
   */
  static InitialState enter(long entry, long startInfo) {
    return (regs, sregs) -> {
      regs.set(KvmRegs.RIP, entry).set(KvmRegs.RBX, startInfo).set(KvmRegs.RFLAGS, RFLAGS);
      sregs
          .setSegment(KvmSregs.CS, CODE_SELECTOR, CODE)
          .setSegment(KvmSregs.DS, DATA_SELECTOR, DATA)
          .setSegment(KvmSregs.ES, DATA_SELECTOR, DATA)
          .setSegment(KvmSregs.FS, DATA_SELECTOR, DATA)
          .setSegment(KvmSregs.GS, DATA_SELECTOR, DATA)
          .setSegment(KvmSregs.SS, DATA_SELECTOR, DATA)
          .setSegment(KvmSregs.TR, TASK_SELECTOR, TASK)
          .setTable(KvmSregs.GDT, 0, 0)
          .setTable(KvmSregs.IDT, 0, 0)
          .set(KvmSregs.CR0, CR0_PE | CR0_ET)
          .set(KvmSregs.CR3, 0)
          .set(KvmSregs.CR4, 0)
          .set(KvmSregs.EFER, 0);
    };
  }
}
