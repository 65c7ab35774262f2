// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static dev.nacelle.kvm.cpu.CpuVendor.AMD;
import static dev.nacelle.kvm.cpu.CpuVendor.INTEL;

import java.util.List;

/**
 * The values, rather than feature bits, that a guest gets as KVM tells them. Highest leaves,
 * topology, the processor's name and leaves 0xb and 0xd are not among them: {@link CpuidPolicy} and
 * {@link ExtendedStates} write those.
 */
final class Leaves {
  /** KVM's signature, and the highest of its leaves. */
  static final int KVM_SIGNATURE = 0x4000_0000;

  /** KVM's features. */
  static final int KVM_FEATURES = 0x4000_0001;

  /** As a subleaf: each. */
  private static final int EACH = -1;

  private static final int WHOLE = -1;

  /**
   * Which bits of a leaf's four registers are passed on.
   *
   * @param vendor on whose processors
   * @param what they say, and why a guest is told
   */
  private record Value(
      int leaf, int subleaf, CpuVendor vendor, int eax, int ebx, int ecx, int edx, String what) {}

  private static final List<Value> VALUES =
      List.of(
          new Value(0, 0, INTEL, 0, WHOLE, WHOLE, WHOLE, "the vendor: which errata there are"),
          new Value(0, 0, AMD, 0, WHOLE, WHOLE, WHOLE, "the vendor: which errata there are"),
          new Value(1, 0, INTEL, 0xfff_3fff, 0xff00, 0, 0, "model and stepping; CLFLUSH's line"),
          new Value(1, 0, AMD, 0xfff_3fff, 0xff00, 0, 0, "model and stepping; CLFLUSH's line"),
          new Value(2, 0, INTEL, WHOLE, WHOLE, WHOLE, WHOLE, "caches and TLBs, to size work by"),
          new Value(4, EACH, INTEL, 0x3ff, WHOLE, WHOLE, 7, "caches, to size work by"),
          new Value(KVM_SIGNATURE, 0, INTEL, 0, WHOLE, WHOLE, WHOLE, "that KVM is there"),
          new Value(KVM_SIGNATURE, 0, AMD, 0, WHOLE, WHOLE, WHOLE, "that KVM is there"),
          new Value(0x8000_0000, 0, AMD, 0, WHOLE, WHOLE, WHOLE, "the vendor again"),
          new Value(0x8000_0001, 0, AMD, 0xfff_3fff, 0, 0, 0x183_f3ff, "leaf 1 again"),
          new Value(0x8000_0005, 0, AMD, WHOLE, WHOLE, WHOLE, WHOLE, "level 1 caches and TLBs"),
          new Value(0x8000_0006, 0, AMD, WHOLE, WHOLE, WHOLE, WHOLE, "level 2 and 3 likewise"),
          new Value(0x8000_0006, 0, INTEL, 0, 0, WHOLE, 0, "the level 2 cache"),
          new Value(0x8000_0008, 0, INTEL, 0xff, 0, 0, 0, "bits of a physical address"),
          new Value(0x8000_0008, 0, AMD, 0xff, 0, 0, 0, "bits of a physical address"),
          new Value(0x8000_0019, 0, AMD, WHOLE, WHOLE, 0, 0, "TLBs of 1 GiB pages"),
          new Value(0x8000_001d, EACH, AMD, 0x3ff, WHOLE, WHOLE, 7, "caches, to size work by"));

  private Leaves() {}

  /** The bits of an answer that a guest may get on such a processor. */
  static int mask(CpuVendor vendor, int leaf, int subleaf, Register register) {
    int mask = 0;
    for (Value value : VALUES) {
      if (value.leaf == leaf
          && (value.subleaf == subleaf || value.subleaf == EACH)
          && value.vendor == vendor) {
        mask |=
            switch (register) {
              case EAX -> value.eax;
              case EBX -> value.ebx;
              case ECX -> value.ecx;
              case EDX -> value.edx;
            };
      }
    }
    for (Feature feature : Feature.values()) {
      if (feature.leaf == leaf
          && feature.subleaf == subleaf
          && feature.register == register
          && feature.whose.includes(vendor)) {
        mask |= feature.mask();
      }
    }
    return mask;
  }
}
