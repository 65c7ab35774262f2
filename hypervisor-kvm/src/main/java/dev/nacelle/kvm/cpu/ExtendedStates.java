// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static dev.nacelle.kvm.cpu.Register.EAX;
import static dev.nacelle.kvm.cpu.Register.EBX;
import static dev.nacelle.kvm.cpu.Register.ECX;

import java.util.List;

/**
 * Leaf 0xd: the register states that XSAVE keeps and XCR0 switches on (Intel SDM volume 1, chapter
 * 13). A state is there as a whole, together with the feature that uses it, or neither is.
 */
final class ExtendedStates {
  private static final int LEAF = 0xd;

  /** x87 and SSE, which XCR0 always has, and the area's header after them. */
  private static final int LEGACY = 3;

  private static final int LEGACY_SIZE = 512 + 64;

  /** In ECX of a state's subleaf: it starts at a multiple of 64 in the compacted format. */
  private static final int ALIGNED = 2;

  /**
   * @param ticket without which no program would touch the states
   * @param states their bits in XCR0
   */
  private record Group(Feature ticket, int states) {}

  /** Each after those it builds on. */
  private static final List<Group> GROUPS =
      List.of(
          new Group(Feature.AVX, 1 << 2),
          // Opmask, upper halves of ZMM0 to 15, ZMM16 to 31: XSETBV takes all or none.
          new Group(Feature.AVX512F, 1 << 5 | 1 << 6 | 1 << 7),
          new Group(Feature.PKU, 1 << 9));

  private ExtendedStates() {}

  /** Makes states and features agree, and writes the leaf anew. */
  static void settle(CpuidTable offered, CpuidTable cpuid) {
    dropOrphans(cpuid);
    int xcr0 = LEGACY;
    for (Group group : GROUPS) {
      if (cpuid.has(group.ticket) && isOffered(offered, group.states)) {
        xcr0 |= group.states;
      } else {
        cpuid.set(group.ticket, false);
        dropOrphans(cpuid);
      }
    }
    int instructions = cpuid.get(LEAF, 1, EAX);
    cpuid.removeLeaf(LEAF);
    if (cpuid.has(Feature.XSAVE)) {
      write(offered, cpuid, xcr0, instructions);
    }
  }

  /** Features whose need is not met; those needed come first in the table. */
  private static void dropOrphans(CpuidTable cpuid) {
    for (Feature feature : Feature.values()) {
      if (feature.needs != null && !cpuid.has(feature.needs) && cpuid.has(feature)) {
        cpuid.set(feature, false);
      }
    }
  }

  private static boolean isOffered(CpuidTable offered, int states) {
    boolean described = (offered.get(LEAF, 0, EAX) & states) == states;
    for (int state = 2; state < Integer.SIZE; state++) {
      described &= (states >>> state & 1) == 0 || offered.get(LEAF, state, EAX) != 0;
    }
    return described;
  }

  private static void write(CpuidTable offered, CpuidTable cpuid, int xcr0, int instructions) {
    int size = LEGACY_SIZE;
    for (int state = 2; state < Integer.SIZE; state++) {
      if ((xcr0 >>> state & 1) != 0) {
        int length = offered.get(LEAF, state, EAX);
        int offset = offered.get(LEAF, state, EBX);
        cpuid.set(LEAF, state, length, offset, offered.get(LEAF, state, ECX) & ALIGNED, 0);
        size = Math.max(size, offset + length);
      }
    }
    // EBX of both: for what XCR0 has now, which KVM keeps up to date. A reset leaves x87.
    cpuid.set(LEAF, 0, xcr0, LEGACY_SIZE, size, 0);
    boolean compacts = (instructions & (Feature.XSAVEC.mask() | Feature.XSAVES.mask())) != 0;
    cpuid.set(LEAF, 1, instructions, compacts ? LEGACY_SIZE : 0, 0, 0);
  }
}
