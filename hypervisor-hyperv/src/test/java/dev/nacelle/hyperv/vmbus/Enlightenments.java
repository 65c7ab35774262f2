// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.vmbus;

import dev.nacelle.kvm.sys.KvmCpuid;

/**
 * What Hyper-V tells its guests of itself by CPUID (TLFS section 2): as much of what it has as KVM
 * does for guests, which is what a Hyper-V of Windows Server 2016 would say (linux,
 * arch/x86/kvm/hyperv.c: kvm_get_hv_cpuid).
 */
final class Enlightenments {
  private static final int VENDOR = 0x4000_0000;
  private static final int INTERFACE = 0x4000_0001;
  private static final int VERSION = 0x4000_0002;
  private static final int FEATURES = 0x4000_0003;
  private static final int RECOMMENDATIONS = 0x4000_0004;
  private static final int LIMITS = 0x4000_0005;

  /** The leaves of hypervisors: those of KVM give way. */
  private static final int HYPERVISOR_LEAVES = 0x4000_00;

  /** Bits of features' EAX: run time, reference counter, SynIC, timers, APIC registers, ... */
  private static final int PRIVILEGES = 0xff | 1 << 9 | 1 << 11;

  private static final int POST_MESSAGES_SIGNAL_EVENTS = 1 << 4 | 1 << 5;

  /** Hypercall input in XMM registers, frequency and crash registers, timers' direct mode. */
  private static final int MORE_FEATURES = 1 << 4 | 1 << 8 | 1 << 10 | 1 << 19;

  /**
   * TLB flushes and IPIs by hypercall, also for many processors, APIC registers, relaxed timing, no
   * automatic end of interrupt.
   */
  private static final int RECOMMENDED = 1 << 2 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11;

  private Enlightenments() {}

  /** As KVM would tell, but with Hyper-V for hypervisor. */
  static KvmCpuid in(KvmCpuid kvm) {
    KvmCpuid told = KvmCpuid.empty();
    for (int n = 0; n < kvm.count(); n++) {
      if (kvm.leaf(n) >>> 8 != HYPERVISOR_LEAVES) {
        told.add(
            kvm.leaf(n),
            kvm.subleaf(n),
            isIndexed(kvm, n),
            kvm.get(n, KvmCpuid.EAX),
            kvm.get(n, KvmCpuid.EBX),
            kvm.get(n, KvmCpuid.ECX),
            kvm.get(n, KvmCpuid.EDX));
      }
    }
    // "Microsoft Hv", "Hv#1", and the version 10.0.14393.
    told.add(VENDOR, 0, false, LIMITS, 0x7263_694d, 0x666f_736f, 0x7648_2074);
    told.add(INTERFACE, 0, false, 0x3123_7648, 0, 0, 0);
    told.add(VERSION, 0, false, 14393, 10 << 16, 0, 0);
    told.add(FEATURES, 0, false, PRIVILEGES, POST_MESSAGES_SIGNAL_EVENTS, 0, MORE_FEATURES);
    told.add(RECOMMENDATIONS, 0, false, RECOMMENDED, 0xfff, 0, 0);
    told.add(LIMITS, 0, false, 240, 64, 0, 0);
    return told;
  }

  /** The flag KVM_CPUID_FLAG_SIGNIFCANT_INDEX of struct kvm_cpuid_entry2, of 40 bytes behind 8. */
  private static boolean isIndexed(KvmCpuid cpuid, int n) {
    return (cpuid.bytes().getInt(8 + 40 * n + 8) & 1) != 0;
  }
}
