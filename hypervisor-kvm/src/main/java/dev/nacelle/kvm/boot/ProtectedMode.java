// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.sys.KvmRegs;
import dev.nacelle.kvm.sys.KvmSregs;

/** 32-bit mode without paging, as the PVH boot protocol wants it (Xen's docs/misc/pvh.pandoc). */
final class ProtectedMode {
  private static final int CODE_SELECTOR = 0x8;
  private static final int DATA_SELECTOR = 0x10;
  private static final int TASK_SELECTOR = 0x18;

  // Segment descriptors (Intel SDM volume 3, figure 3-8): flat, ring 0, accessed.
  private static final long CODE = 0x00cf_9b00_0000_ffffL;

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
      regs.set(KvmRegs.RIP, entry)
          .set(KvmRegs.RBX, startInfo)
          .set(KvmRegs.RFLAGS, FlatSegments.RFLAGS);
      FlatSegments.set(sregs, CODE_SELECTOR, CODE, DATA_SELECTOR, TASK_SELECTOR)
          .setTable(KvmSregs.GDT, 0, 0)
          .set(KvmSregs.CR0, FlatSegments.CR0_PE | FlatSegments.CR0_ET)
          .set(KvmSregs.CR3, 0)
          .set(KvmSregs.CR4, 0)
          .set(KvmSregs.EFER, 0);
    };
  }
}
