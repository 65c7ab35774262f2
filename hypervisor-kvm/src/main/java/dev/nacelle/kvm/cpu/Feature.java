// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.cpu;

import static dev.nacelle.kvm.cpu.Feature.Whose.ALL;
import static dev.nacelle.kvm.cpu.Feature.Whose.AMD;
import static dev.nacelle.kvm.cpu.Feature.Whose.INTEL;
import static dev.nacelle.kvm.cpu.Feature.Why.CLOCK;
import static dev.nacelle.kvm.cpu.Feature.Why.FEWER_EXITS;
import static dev.nacelle.kvm.cpu.Feature.Why.KERNEL;
import static dev.nacelle.kvm.cpu.Feature.Why.MITIGATION;
import static dev.nacelle.kvm.cpu.Feature.Why.PROGRAM;
import static dev.nacelle.kvm.cpu.Feature.Why.SPEED;
import static dev.nacelle.kvm.cpu.Register.EAX;
import static dev.nacelle.kvm.cpu.Register.EBX;
import static dev.nacelle.kvm.cpu.Register.ECX;
import static dev.nacelle.kvm.cpu.Register.EDX;

import org.jspecify.annotations.Nullable;

/**
 * Each feature bit that a guest gets where KVM offers it: leaf, subleaf, register, bit, on whose
 * processors, why, and the feature without which it is nothing (which comes before it here).
 * Defined in Intel SDM volume 2, CPUID, and AMD APM volume 3, appendix E; most names are Linux's
 * (arch/x86/include/asm/cpufeatures.h). What is left out, and why: see the package.
 */
enum Feature {
  // Leaf 1. OSXSAVE and OSPKE are not here: KVM sets them as the guest sets CR4.
  FPU(1, 0, EDX, 0, ALL, KERNEL),
  VME(1, 0, EDX, 1, ALL, KERNEL),
  DE(1, 0, EDX, 2, ALL, KERNEL),
  PSE(1, 0, EDX, 3, ALL, KERNEL),
  TSC(1, 0, EDX, 4, ALL, KERNEL),
  MSR(1, 0, EDX, 5, ALL, KERNEL),
  PAE(1, 0, EDX, 6, ALL, KERNEL),
  MCE(1, 0, EDX, 7, ALL, KERNEL),
  CX8(1, 0, EDX, 8, ALL, KERNEL),
  APIC(1, 0, EDX, 9, ALL, KERNEL),
  SEP(1, 0, EDX, 11, ALL, KERNEL),
  MTRR(1, 0, EDX, 12, ALL, KERNEL),
  PGE(1, 0, EDX, 13, ALL, KERNEL),
  MCA(1, 0, EDX, 14, ALL, KERNEL),
  CMOV(1, 0, EDX, 15, ALL, KERNEL),
  PAT(1, 0, EDX, 16, ALL, KERNEL),
  PSE36(1, 0, EDX, 17, ALL, KERNEL),
  CLFLUSH(1, 0, EDX, 19, ALL, KERNEL),
  MMX(1, 0, EDX, 23, ALL, KERNEL),
  FXSR(1, 0, EDX, 24, ALL, KERNEL),
  SSE(1, 0, EDX, 25, ALL, KERNEL),
  SSE2(1, 0, EDX, 26, ALL, KERNEL),
  SELF_SNOOP(1, 0, EDX, 27, ALL, SPEED),
  CX16(1, 0, ECX, 13, ALL, KERNEL),
  PCID(1, 0, ECX, 17, ALL, KERNEL),
  X2APIC(1, 0, ECX, 21, ALL, KERNEL),
  XSAVE(1, 0, ECX, 26, ALL, KERNEL),
  SSE3(1, 0, ECX, 0, ALL, PROGRAM),
  PCLMULQDQ(1, 0, ECX, 1, ALL, PROGRAM),
  SSSE3(1, 0, ECX, 9, ALL, PROGRAM),
  SSE4_1(1, 0, ECX, 19, ALL, PROGRAM),
  SSE4_2(1, 0, ECX, 20, ALL, PROGRAM),
  MOVBE(1, 0, ECX, 22, ALL, PROGRAM),
  POPCNT(1, 0, ECX, 23, ALL, PROGRAM),
  AES(1, 0, ECX, 25, ALL, PROGRAM),
  RDRAND(1, 0, ECX, 30, ALL, PROGRAM),
  AVX(1, 0, ECX, 28, ALL, PROGRAM, XSAVE),
  FMA(1, 0, ECX, 12, ALL, PROGRAM, AVX),
  F16C(1, 0, ECX, 29, ALL, PROGRAM, AVX),

  // Leaf 6.
  ARAT(6, 0, EAX, 2, ALL, KERNEL),

  // Leaf 7, subleaf 0. FDP_EXCPTN_ONLY and ZERO_FCS_FDS say how the x87 unit differs from older
  // ones.
  FSGSBASE(7, 0, EBX, 0, ALL, KERNEL),
  TSC_ADJUST(7, 0, EBX, 1, ALL, KERNEL),
  SMEP(7, 0, EBX, 7, ALL, KERNEL),
  INVPCID(7, 0, EBX, 10, ALL, KERNEL),
  SMAP(7, 0, EBX, 20, ALL, KERNEL),
  FDP_EXCPTN_ONLY(7, 0, EBX, 6, ALL, SPEED),
  ERMS(7, 0, EBX, 9, ALL, SPEED),
  ZERO_FCS_FDS(7, 0, EBX, 13, ALL, SPEED),
  BMI1(7, 0, EBX, 3, ALL, PROGRAM),
  BMI2(7, 0, EBX, 8, ALL, PROGRAM),
  RDSEED(7, 0, EBX, 18, ALL, PROGRAM),
  ADX(7, 0, EBX, 19, ALL, PROGRAM),
  CLFLUSHOPT(7, 0, EBX, 23, ALL, PROGRAM),
  CLWB(7, 0, EBX, 24, ALL, PROGRAM),
  SHA_NI(7, 0, EBX, 29, ALL, PROGRAM),
  AVX2(7, 0, EBX, 5, ALL, PROGRAM, AVX),
  AVX512F(7, 0, EBX, 16, ALL, PROGRAM, AVX2),
  AVX512DQ(7, 0, EBX, 17, ALL, PROGRAM, AVX512F),
  AVX512_IFMA(7, 0, EBX, 21, ALL, PROGRAM, AVX512F),
  AVX512CD(7, 0, EBX, 28, ALL, PROGRAM, AVX512F),
  AVX512BW(7, 0, EBX, 30, ALL, PROGRAM, AVX512F),
  AVX512VL(7, 0, EBX, 31, ALL, PROGRAM, AVX512F),
  UMIP(7, 0, ECX, 2, ALL, KERNEL),
  PKU(7, 0, ECX, 3, ALL, KERNEL, XSAVE),
  AVX512_VBMI(7, 0, ECX, 1, ALL, PROGRAM, AVX512F),
  AVX512_VBMI2(7, 0, ECX, 6, ALL, PROGRAM, AVX512F),
  GFNI(7, 0, ECX, 8, ALL, PROGRAM),
  VAES(7, 0, ECX, 9, ALL, PROGRAM, AVX),
  VPCLMULQDQ(7, 0, ECX, 10, ALL, PROGRAM, AVX),
  AVX512_VNNI(7, 0, ECX, 11, ALL, PROGRAM, AVX512F),
  AVX512_BITALG(7, 0, ECX, 12, ALL, PROGRAM, AVX512F),
  AVX512_VPOPCNTDQ(7, 0, ECX, 14, ALL, PROGRAM, AVX512F),
  RDPID(7, 0, ECX, 22, ALL, PROGRAM),
  FSRM(7, 0, EDX, 4, ALL, SPEED),
  AVX512_VP2INTERSECT(7, 0, EDX, 8, ALL, PROGRAM, AVX512F),
  SERIALIZE(7, 0, EDX, 14, ALL, PROGRAM),
  AVX512_FP16(7, 0, EDX, 23, ALL, PROGRAM, AVX512BW),
  MD_CLEAR(7, 0, EDX, 10, INTEL, MITIGATION),
  SPEC_CTRL(7, 0, EDX, 26, INTEL, MITIGATION),
  STIBP(7, 0, EDX, 27, INTEL, MITIGATION),
  ARCH_CAPABILITIES(7, 0, EDX, 29, INTEL, MITIGATION),
  SSBD(7, 0, EDX, 31, INTEL, MITIGATION),

  // Leaf 7, subleaf 1.
  SHA512(7, 1, EAX, 0, ALL, PROGRAM, AVX2),
  SM3(7, 1, EAX, 1, ALL, PROGRAM, AVX2),
  SM4(7, 1, EAX, 2, ALL, PROGRAM, AVX2),
  AVX_VNNI(7, 1, EAX, 4, ALL, PROGRAM, AVX2),
  AVX512_BF16(7, 1, EAX, 5, ALL, PROGRAM, AVX512F),
  CMPCCXADD(7, 1, EAX, 7, ALL, PROGRAM),
  AVX_IFMA(7, 1, EAX, 23, ALL, PROGRAM, AVX2),
  FZRM(7, 1, EAX, 10, ALL, SPEED),
  FSRS(7, 1, EAX, 11, ALL, SPEED),
  FSRC(7, 1, EAX, 12, ALL, SPEED),
  AVX_VNNI_INT8(7, 1, EDX, 4, ALL, PROGRAM, AVX2),
  AVX_NE_CONVERT(7, 1, EDX, 5, ALL, PROGRAM, AVX2),
  AVX_VNNI_INT16(7, 1, EDX, 10, ALL, PROGRAM, AVX2),
  PREFETCHI(7, 1, EDX, 14, ALL, PROGRAM),

  // Leaf 7, subleaf 2: what SPEC_CTRL can do more.
  INTEL_PSFD(7, 2, EDX, 0, INTEL, MITIGATION),
  IPRED_CTRL(7, 2, EDX, 1, INTEL, MITIGATION),
  RRSBA_CTRL(7, 2, EDX, 2, INTEL, MITIGATION),
  DDPD_U(7, 2, EDX, 3, INTEL, MITIGATION),
  BHI_CTRL(7, 2, EDX, 4, INTEL, MITIGATION),
  MCDT_NO(7, 2, EDX, 5, INTEL, MITIGATION),

  // Leaf 0xd, subleaf 1. Not XFD, which is for AMX.
  XSAVEOPT(0xd, 1, EAX, 0, ALL, KERNEL, XSAVE),
  XSAVEC(0xd, 1, EAX, 1, ALL, KERNEL, XSAVE),
  XGETBV1(0xd, 1, EAX, 2, ALL, KERNEL, XSAVE),
  XSAVES(0xd, 1, EAX, 3, ALL, KERNEL, XSAVE),

  // KVM's own (Documentation/virt/kvm/x86/cpuid.rst): its clock, ...
  KVM_CLOCKSOURCE(Leaves.KVM_FEATURES, 0, EAX, 0, ALL, CLOCK),
  KVM_CLOCKSOURCE2(Leaves.KVM_FEATURES, 0, EAX, 3, ALL, CLOCK),
  KVM_CLOCKSOURCE_STABLE(Leaves.KVM_FEATURES, 0, EAX, 24, ALL, CLOCK),
  KVM_STEAL_TIME(Leaves.KVM_FEATURES, 0, EAX, 5, ALL, CLOCK),

  // ... what spares an exit, or time that a vCPU waits for one that does not run.
  KVM_NOP_IO_DELAY(Leaves.KVM_FEATURES, 0, EAX, 1, ALL, FEWER_EXITS),
  KVM_PV_EOI(Leaves.KVM_FEATURES, 0, EAX, 6, ALL, FEWER_EXITS),
  KVM_PV_UNHALT(Leaves.KVM_FEATURES, 0, EAX, 7, ALL, FEWER_EXITS),
  KVM_PV_TLB_FLUSH(Leaves.KVM_FEATURES, 0, EAX, 9, ALL, FEWER_EXITS),
  KVM_PV_SEND_IPI(Leaves.KVM_FEATURES, 0, EAX, 11, ALL, FEWER_EXITS),
  KVM_PV_SCHED_YIELD(Leaves.KVM_FEATURES, 0, EAX, 13, ALL, FEWER_EXITS),

  // Leaf 0x80000001; AMD repeats leaf 1 in its EDX besides (Leaves).
  LAHF_LM(0x8000_0001, 0, ECX, 0, ALL, PROGRAM),
  LZCNT(0x8000_0001, 0, ECX, 5, ALL, PROGRAM),
  PREFETCHW(0x8000_0001, 0, ECX, 8, ALL, PROGRAM),
  SSE4A(0x8000_0001, 0, ECX, 6, AMD, PROGRAM),
  MISALIGNED_SSE(0x8000_0001, 0, ECX, 7, AMD, PROGRAM),
  XOP(0x8000_0001, 0, ECX, 11, AMD, PROGRAM, AVX),
  FMA4(0x8000_0001, 0, ECX, 16, AMD, PROGRAM, AVX),
  TBM(0x8000_0001, 0, ECX, 21, AMD, PROGRAM, XSAVE),
  CMP_LEGACY(0x8000_0001, 0, ECX, 1, AMD, KERNEL),
  CR8_LEGACY(0x8000_0001, 0, ECX, 4, AMD, KERNEL),
  OSVW(0x8000_0001, 0, ECX, 9, AMD, KERNEL),
  TOPOLOGY_EXTENSIONS(0x8000_0001, 0, ECX, 22, AMD, KERNEL),
  SYSCALL(0x8000_0001, 0, EDX, 11, ALL, KERNEL),
  NX(0x8000_0001, 0, EDX, 20, ALL, KERNEL),
  GIB_PAGES(0x8000_0001, 0, EDX, 26, ALL, KERNEL),
  RDTSCP(0x8000_0001, 0, EDX, 27, ALL, KERNEL),
  LONG_MODE(0x8000_0001, 0, EDX, 29, ALL, KERNEL),
  MMX_EXT(0x8000_0001, 0, EDX, 22, AMD, PROGRAM),
  FXSR_OPT(0x8000_0001, 0, EDX, 25, AMD, PROGRAM),

  // Leaf 0x80000007.
  INVARIANT_TSC(0x8000_0007, 0, EDX, 8, ALL, CLOCK),

  // Leaf 0x80000008. Not INVLPGB and RDPRU, which reach beyond the guest, nor PPIN, a serial
  // number.
  WBNOINVD(0x8000_0008, 0, EBX, 9, ALL, KERNEL),
  CLZERO(0x8000_0008, 0, EBX, 0, AMD, PROGRAM),
  XSAVE_ERROR_POINTERS(0x8000_0008, 0, EBX, 2, AMD, KERNEL, XSAVE),
  AMD_IBPB(0x8000_0008, 0, EBX, 12, AMD, MITIGATION),
  AMD_IBRS(0x8000_0008, 0, EBX, 14, AMD, MITIGATION),
  AMD_STIBP(0x8000_0008, 0, EBX, 15, AMD, MITIGATION),
  AMD_STIBP_ALWAYS_ON(0x8000_0008, 0, EBX, 17, AMD, MITIGATION),
  AMD_IBRS_SAME_MODE(0x8000_0008, 0, EBX, 19, AMD, MITIGATION),
  AMD_SSBD(0x8000_0008, 0, EBX, 24, AMD, MITIGATION),
  AMD_VIRT_SSBD(0x8000_0008, 0, EBX, 25, AMD, MITIGATION),
  AMD_SSB_NO(0x8000_0008, 0, EBX, 26, AMD, MITIGATION),
  AMD_PSFD(0x8000_0008, 0, EBX, 28, AMD, MITIGATION),
  AMD_BTC_NO(0x8000_0008, 0, EBX, 29, AMD, MITIGATION),
  AMD_IBPB_RET(0x8000_0008, 0, EBX, 30, AMD, MITIGATION),

  // Leaf 0x80000021.
  LFENCE_SERIALIZES(0x8000_0021, 0, EAX, 2, AMD, MITIGATION),
  VERW_CLEAR(0x8000_0021, 0, EAX, 5, AMD, MITIGATION),
  NULL_SELECTOR_CLEARS_BASE(0x8000_0021, 0, EAX, 6, AMD, MITIGATION),
  AUTOMATIC_IBRS(0x8000_0021, 0, EAX, 8, AMD, MITIGATION),
  SBPB(0x8000_0021, 0, EAX, 27, AMD, MITIGATION),
  IBPB_BRTYPE(0x8000_0021, 0, EAX, 28, AMD, MITIGATION),
  SRSO_NO(0x8000_0021, 0, EAX, 29, AMD, MITIGATION),
  SRSO_USER_KERNEL_NO(0x8000_0021, 0, EAX, 30, AMD, MITIGATION),
  TSA_SQ_NO(0x8000_0021, 0, ECX, 1, AMD, MITIGATION),
  TSA_L1_NO(0x8000_0021, 0, ECX, 2, AMD, MITIGATION);

  /** On whose processors a bit means this. */
  enum Whose {
    ALL,
    INTEL,
    AMD;

    boolean includes(CpuVendor vendor) {
      return this == ALL || name().equals(vendor.name());
    }
  }

  /** Why a guest gets a feature. */
  enum Why {
    /** A kernel runs on it, or protects itself with it; all of its state is the vCPU's own. */
    KERNEL,
    /** Instructions of any program, with no state but registers and what XSAVE keeps. */
    PROGRAM,
    /** Says which of several ways to do a thing is quick, or exact; adds nothing. */
    SPEED,
    /** A guest's kernel guards its own programs by it, or learns that it need not. */
    MITIGATION,
    /** Time that goes on at one rate, and how much of it others took. */
    CLOCK,
    /** Asks less of the host. */
    FEWER_EXITS
  }

  final int leaf;
  final int subleaf;
  final Register register;
  final int bit;
  final Whose whose;
  final Why why;

  /** The feature that it is nothing without, or null. */
  final @Nullable Feature needs;

  Feature(int leaf, int subleaf, Register register, int bit, Whose whose, Why why) {
    this(leaf, subleaf, register, bit, whose, why, null);
  }

  Feature(
      int leaf,
      int subleaf,
      Register register,
      int bit,
      Whose whose,
      Why why,
      @Nullable Feature needs) {
    this.leaf = leaf;
    this.subleaf = subleaf;
    this.register = register;
    this.bit = bit;
    this.whose = whose;
    this.why = why;
    this.needs = needs;
  }

  int mask() {
    return 1 << bit;
  }
}
