// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.boot;

import dev.nacelle.kvm.sys.KvmSregs;

/** What both modes that guests begin in have alike: flat segments of ring 0, interrupts off. */
final class FlatSegments {
  // Segment descriptors (Intel SDM volume 3, figure 3-8): flat, ring 0, accessed; a busy TSS.
  static final long DATA = 0x00cf_9300_0000_ffffL;
  static final long TASK = 0x0000_8b00_0000_0067L;

  // CR0 (Intel SDM volume 3, section 2.5).
  static final long CR0_PE = 1;
  static final long CR0_ET = 1 << 4;

  /** RFLAGS with nothing set but the bit that is always one; interrupts are off. */
  static final long RFLAGS = 2;

  private FlatSegments() {}

  /**
   * Sets the segments; there is no interrupt descriptor table.
   *
   * @param code the descriptor of the code segment, after its selector
   */
  static KvmSregs set(
      KvmSregs sregs, int codeSelector, long code, int dataSelector, int taskSelector) {
    return sregs
        .setSegment(KvmSregs.CS, codeSelector, code)
        .setSegment(KvmSregs.DS, dataSelector, DATA)
        .setSegment(KvmSregs.ES, dataSelector, DATA)
        .setSegment(KvmSregs.FS, dataSelector, DATA)
        .setSegment(KvmSregs.GS, dataSelector, DATA)
        .setSegment(KvmSregs.SS, dataSelector, DATA)
        .setSegment(KvmSregs.TR, taskSelector, TASK)
        .setTable(KvmSregs.IDT, 0, 0);
  }
}
