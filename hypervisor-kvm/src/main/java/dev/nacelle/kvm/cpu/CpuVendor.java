// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

/** Whose definitions of CPUID a processor follows. */
enum CpuVendor {
  /** Intel SDM volume 2, CPUID; also Zhaoxin's, which KVM drives as Intel's. */
  INTEL,
  /** AMD APM volume 3, appendix E; also Hygon's, which are AMD's of the first EPYC. */
  AMD;

  private static final int AUTH = 0x6874_7541; // of AuthenticAMD, in EBX
  private static final int HYGO = 0x6f67_7948; // of HygonGenuine

  static CpuVendor of(CpuidTable cpuid) {
    int name = cpuid.get(0, 0, Register.EBX);
    return name == AUTH || name == HYGO ? AMD : INTEL;
  }
}
