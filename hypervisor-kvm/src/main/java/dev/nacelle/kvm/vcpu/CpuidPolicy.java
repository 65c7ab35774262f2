// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

import static dev.nacelle.kvm.sys.KvmCpuid.EAX;
import static dev.nacelle.kvm.sys.KvmCpuid.EBX;
import static dev.nacelle.kvm.sys.KvmCpuid.ECX;
import static dev.nacelle.kvm.sys.KvmCpuid.EDX;

import dev.nacelle.kvm.sys.KvmCpuid;
import java.util.List;
import java.util.Set;

/**
 * What CPUID tells the guest: what KVM supports on this host without {@link #HIDDEN_FEATURES} and
 * {@link #HIDDEN_LEAVES}, and a topology of one package with a core per vCPU. Leaves are those of
 * Intel SDM volume 2, CPUID, and AMD APM volume 3, appendix E.
 */
public final class CpuidPolicy {
  /** A feature bit. */
  private record Feature(int leaf, int register, int bit) {}

  /**
   * Features that KVM offers and no guest gets; KVM enforces the virtualisation ones, since it lets
   * a guest set CR4.VMXE and EFER.SVME only where its CPUID has them.
   */
  private static final List<Feature> HIDDEN_FEATURES =
      List.of(
          // Nested virtualisation: the part of KVM that guests have escaped through most
          // (CVE-2021-29657, CVE-2021-3653, CVE-2021-3656), and nothing that a container needs.
          new Feature(1, ECX, 5), // VMX
          new Feature(0x8000_0001, ECX, 2), // SVM
          // Performance counters, which tell a guest of its neighbours on the processor; see also
          // KvmVm.disablePerformanceCounters.
          new Feature(1, ECX, 2), // DTES64
          new Feature(1, ECX, 15), // PDCM
          new Feature(1, EDX, 21), // DS
          new Feature(0x8000_0001, ECX, 23), // PERFCTR_CORE
          // The host's IA32_ENERGY_PERF_BIAS, which no guest has.
          new Feature(6, ECX, 3));

  /** Leaves in which CPUID answers zeros. */
  private static final Set<Integer> HIDDEN_LEAVES =
      Set.of(
          // Nested virtualisation: SVM's features.
          0x8000_000a,
          // Performance counters, Intel's and AMD's.
          0xa,
          0x8000_0022,
          // Topology that KVM takes from this host: 0xb is written anew, and then neither 0x1f nor
          // AMD's 0x80000026 is needed.
          0xb,
          0x1f,
          0x8000_0026);

  private static final int LEAF_1_TSC_DEADLINE = 1 << 24; // ECX
  private static final int LEAF_1_HYPERVISOR = 1 << 31; // ECX
  private static final int LEAF_1_HTT = 1 << 28; // EDX

  /** Cores in the package, less one: 6 bits of leaf 4. A larger package says as many as that. */
  private static final int LEAF_4_MOST_CORES = 0x3f;

  /** Types of a level of leaf 0xb, in ECX bits 8 to 15. */
  private static final int LEVEL_SMT = 1 << 8;

  private static final int LEVEL_CORE = 2 << 8;

  private final KvmCpuid supported;
  private final boolean tscDeadline;

  /**
   * @param supported what KVM supports
   * @param tscDeadline whether KVM's local APIC has the TSC deadline timer, which is not told there
   */
  public CpuidPolicy(KvmCpuid supported, boolean tscDeadline) {
    this.supported = supported;
    this.tscDeadline = tscDeadline;
  }

  /**
   * Tells one vCPU what it is.
   *
   * @param id its number, which is its APIC's identifier
   * @param cpus how many there are
   */
  public KvmCpuid forVcpu(int id, int cpus) {
    KvmCpuid cpuid = supported.copy();
    int maxLeaf = maxLeaf(cpuid);
    cpuid.removeLeaves(HIDDEN_LEAVES::contains);
    for (int n = 0; n < cpuid.count(); n++) {
      for (Feature hidden : HIDDEN_FEATURES) {
        if (hidden.leaf == cpuid.leaf(n)) {
          set(cpuid, n, hidden.register, 1 << hidden.bit, 0);
        }
      }
      switch (cpuid.leaf(n)) {
        case 1 -> {
          // EBX: initial APIC identifier, logical processors in the package.
          set(cpuid, n, EBX, 0xffff_0000, id << 24 | cpus << 16);
          set(cpuid, n, ECX, LEAF_1_HYPERVISOR, LEAF_1_HYPERVISOR);
          set(cpuid, n, ECX, LEAF_1_TSC_DEADLINE, tscDeadline ? LEAF_1_TSC_DEADLINE : 0);
          set(cpuid, n, EDX, LEAF_1_HTT, cpus > 1 ? LEAF_1_HTT : 0);
        }
        case 4 -> {
          // Caches: those of level 3 are the package's, the others a core's.
          if ((cpuid.get(n, EAX) & 0x1f) != 0) {
            int level = cpuid.get(n, EAX) >>> 5 & 7;
            int cores = Math.min(cpus - 1, LEAF_4_MOST_CORES);
            set(cpuid, n, EAX, 0xffff_c000, cores << 26 | (level >= 3 ? cpus - 1 : 0) << 14);
          }
        }
        // ECX: APIC identifier size, processors in the package less one.
        case 0x8000_0008 -> set(cpuid, n, ECX, 0xf0ff, shift(cpus) << 12 | cpus - 1);
        case 0x8000_001d -> {
          if ((cpuid.get(n, EAX) & 0x1f) != 0) {
            int level = cpuid.get(n, EAX) >>> 5 & 7;
            set(cpuid, n, EAX, 0x3ff_c000, (level >= 3 ? cpus - 1 : 0) << 14);
          }
        }
        case 0x8000_001e -> {
          // Extended APIC identifier; core identifier, one thread in it; one node.
          cpuid.set(n, EAX, id);
          cpuid.set(n, EBX, id & 0xff);
          cpuid.set(n, ECX, 0);
        }
        default -> {
          // As KVM supports it.
        }
      }
    }
    if (maxLeaf >= 0xb) {
      cpuid.add(0xb, 0, 0, 1, LEVEL_SMT, id);
      cpuid.add(0xb, 1, shift(cpus), cpus, 1 | LEVEL_CORE, id);
      cpuid.add(0xb, 2, 0, 0, 2, id);
    }
    return cpuid;
  }

  /** How many bits of an APIC identifier tell processors of one package apart. */
  private static int shift(int cpus) {
    return Integer.SIZE - Integer.numberOfLeadingZeros(cpus - 1);
  }

  private static int maxLeaf(KvmCpuid cpuid) {
    for (int n = 0; n < cpuid.count(); n++) {
      if (cpuid.leaf(n) == 0) {
        return cpuid.get(n, EAX);
      }
    }
    return 0;
  }

  private static void set(KvmCpuid cpuid, int n, int register, int mask, int value) {
    cpuid.set(n, register, cpuid.get(n, register) & ~mask | value & mask);
  }
}
