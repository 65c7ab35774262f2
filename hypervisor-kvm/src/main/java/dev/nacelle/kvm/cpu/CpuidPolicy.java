// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static dev.nacelle.kvm.cpu.Register.EAX;
import static dev.nacelle.kvm.cpu.Register.EBX;
import static dev.nacelle.kvm.cpu.Register.ECX;
import static dev.nacelle.kvm.cpu.Register.EDX;

import dev.nacelle.kvm.sys.KvmCpuid;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * What CPUID tells the guest: of what KVM supports on this host, what {@link Feature} and {@link
 * Leaves} name; what follows from that (highest leaves, {@link ExtendedStates}); a topology of one
 * package with a core per vCPU; and a name. Immutable.
 */
public final class CpuidPolicy {
  private static final int EXTENDED = 0x8000_0000;
  private static final int NAME = 0x8000_0002; // to 0x80000004
  private static final int NAME_BYTES = 48;

  private static final int LEAF_1_TSC_DEADLINE = 1 << 24; // ECX
  private static final int LEAF_1_HYPERVISOR = 1 << 31; // ECX
  private static final int LEAF_1_HTT = 1 << 28; // EDX

  /** Cores in the package, less one: 6 bits of leaf 4. A larger package says as many as that. */
  private static final int LEAF_4_MOST_CORES = 0x3f;

  /** Types of a level of leaf 0xb, in ECX bits 8 to 15. */
  private static final int LEVEL_SMT = 1 << 8;

  private static final int LEVEL_CORE = 2 << 8;

  /** Bits of a linear address without five-level page tables, in EAX bits 8 to 15. */
  private static final int LINEAR_48 = 48 << 8;

  private final CpuVendor vendor;
  private final boolean hasTopologyLeaf;
  private final CpuidTable cpuid;

  /**
   * @param supported what KVM supports
   * @param tscDeadline whether KVM's local APIC has the TSC deadline timer, which is not told there
   */
  public CpuidPolicy(KvmCpuid supported, boolean tscDeadline) {
    CpuidTable offered = new CpuidTable(supported);
    vendor = CpuVendor.of(offered);
    hasTopologyLeaf = offered.get(0, 0, EAX) >= 0xb;
    cpuid = allowed(offered);
    ExtendedStates.settle(offered, cpuid);
    if (!cpuid.has(Feature.TOPOLOGY_EXTENSIONS)) {
      cpuid.removeLeaf(0x8000_001d);
    }
    cpuid.set(1, 0, ECX, cpuid.get(1, 0, ECX) | LEAF_1_HYPERVISOR);
    if (tscDeadline) {
      cpuid.set(1, 0, ECX, cpuid.get(1, 0, ECX) | LEAF_1_TSC_DEADLINE);
    }
    cpuid.set(0x8000_0008, 0, EAX, cpuid.get(0x8000_0008, 0, EAX) | LINEAR_48);
    setName();
    cpuid.removeZeros();
  }

  /** Whether guests can keep time by KVM's clock, and have their timers from the local APIC. */
  public boolean hasClockAndTimer() {
    return (cpuid.has(Feature.KVM_CLOCKSOURCE) || cpuid.has(Feature.KVM_CLOCKSOURCE2))
        && cpuid.has(Feature.TSC)
        && (cpuid.get(1, 0, ECX) & LEAF_1_TSC_DEADLINE) != 0;
  }

  private CpuidTable allowed(CpuidTable offered) {
    CpuidTable allowed = new CpuidTable();
    for (int leaf : offered.leaves()) {
      for (int subleaf : offered.subleaves(leaf)) {
        for (Register register : Register.values()) {
          int mask = Leaves.mask(vendor, leaf, subleaf, register);
          allowed.set(leaf, subleaf, register, offered.get(leaf, subleaf, register) & mask);
        }
      }
    }
    return allowed;
  }

  /**
   * A name for people and for programs that print it: the vendor's, of no model. KVM gives none,
   * which Linux shows as "unknown". The host's own would say more than leaf 1 already does, which
   * cloud and which price; and a snapshot takes its guest's name along to where it is not true.
   */
  private void setName() {
    int hygon = 0x6f67_7948;
    String name =
        switch (vendor) {
          case INTEL -> "Intel(R) Processor";
          case AMD -> cpuid.get(0, 0, EBX) == hygon ? "Hygon Processor" : "AMD Processor";
        };
    ByteBuffer bytes = ByteBuffer.allocate(NAME_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.put(name.getBytes(StandardCharsets.US_ASCII)).rewind();
    for (int leaf = NAME; bytes.hasRemaining(); leaf++) {
      cpuid.set(leaf, 0, bytes.getInt(), bytes.getInt(), bytes.getInt(), bytes.getInt());
    }
  }

  /**
   * Tells one vCPU what it is.
   *
   * @param id its number, which is its APIC's identifier
   * @param cpus how many there are
   */
  public KvmCpuid forVcpu(int id, int cpus) {
    CpuidTable told = cpuid.copy();
    // EBX: initial APIC identifier, logical processors in the package.
    told.set(1, 0, EBX, told.get(1, 0, EBX) | id << 24 | cpus << 16);
    told.set(1, 0, EDX, told.get(1, 0, EDX) | (cpus > 1 ? LEAF_1_HTT : 0));
    int cores = Math.min(cpus - 1, LEAF_4_MOST_CORES);
    shareCaches(told, 4, cpus, cores << 26);
    if (hasTopologyLeaf) {
      told.set(0xb, 0, 0, 1, LEVEL_SMT, id);
      told.set(0xb, 1, shift(cpus), cpus, 1 | LEVEL_CORE, id);
      told.set(0xb, 2, 0, 0, 2, id);
    }
    if (vendor == CpuVendor.AMD) {
      // APIC identifier size, processors in the package less one. Intel has nothing there.
      told.set(0x8000_0008, 0, ECX, shift(cpus) << 12 | cpus - 1);
    }
    if (told.has(Feature.TOPOLOGY_EXTENSIONS)) {
      shareCaches(told, 0x8000_001d, cpus, 0);
      // Extended APIC identifier; core identifier, one thread in it; one node.
      told.set(0x8000_001e, 0, id, id & 0xff, 0, 0);
    }
    setHighestLeaves(told);
    return told.toKvm();
  }

  /** Caches of level 3 are the package's, the others a core's. */
  private static void shareCaches(CpuidTable told, int leaf, int cpus, int more) {
    for (int subleaf : told.subleaves(leaf)) {
      int eax = told.get(leaf, subleaf, EAX);
      if ((eax & 0x1f) != 0) {
        int level = eax >>> 5 & 7;
        told.set(leaf, subleaf, EAX, eax | more | (level >= 3 ? cpus - 1 : 0) << 14);
      }
    }
  }

  private static void setHighestLeaves(CpuidTable told) {
    int basic = 0;
    int extended = EXTENDED;
    for (int leaf : told.leaves()) {
      if (leaf < 0) { // 0x80000000 and above
        extended = leaf;
      } else if (leaf < Leaves.KVM_SIGNATURE) {
        basic = leaf;
      }
    }
    told.set(0, 0, EAX, basic);
    told.set(EXTENDED, 0, EAX, extended);
    if (told.get(Leaves.KVM_SIGNATURE, 0, EBX) != 0) {
      told.set(Leaves.KVM_SIGNATURE, 0, EAX, Leaves.KVM_FEATURES);
    }
    int subleaves = told.subleaves(7).length;
    if (subleaves > 0) {
      told.set(7, 0, EAX, told.subleaves(7)[subleaves - 1]);
    }
  }

  /** How many bits of an APIC identifier tell processors of one package apart. */
  private static int shift(int cpus) {
    return Integer.SIZE - Integer.numberOfLeadingZeros(cpus - 1);
  }
}
