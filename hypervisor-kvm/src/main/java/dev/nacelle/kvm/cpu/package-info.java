// SPDX-License-Identifier: Apache-2.0

/**
 * What a guest is told of its processor.
 *
 * <p>CPUID is an allow-list: {@link dev.nacelle.kvm.cpu.Feature} has each feature bit that a guest
 * may get, {@link dev.nacelle.kvm.cpu.Leaves} each value. What neither names is zero, whatever KVM
 * offers, so that a newer kernel on the host changes a guest by what stands there and by nothing
 * else.
 *
 * <h2>What is left out, and why</h2>
 *
 * <ul>
 *   <li>Nested virtualisation (VMX, SVM, leaf 0x8000000a): the part of KVM that guests have escaped
 *       through most (CVE-2021-29657, CVE-2021-3653, CVE-2021-3656), and nothing a container needs.
 *       KVM enforces it: CR4.VMXE and EFER.SVME cannot be set.
 *   <li>Performance counters and tracing (DTES64, PDCM, DS, PERFCTR_CORE, LBR, IBS, PT, APERF and
 *       MPERF, AVIC's leaf 0x1b, leaves 0xa, 0x14, 0x1c, 0x23, 0x80000022): they tell a guest of
 *       its neighbours on the processor. See also KvmVm.disablePerformanceCounters.
 *   <li>Resource control and encrypted memory (RDT: leaves 0xf, 0x10, 0x80000020; TME, PCONFIG,
 *       leaf 0x1b; SEV: leaf 0x8000001f): the host's. Old kernels let the latter through unasked.
 *   <li>SGX (leaf 0x12, SGX_LC): no enclave memory is given to any guest.
 *   <li>Idling and power by programs (MONITOR, MWAITX, WAITPKG, leaf 5, leaf 6 but ARAT, HWP): a
 *       program of the guest would put the host's physical core to sleep.
 *   <li>AMX (leaves 0x1d, 0x1e, XCR0 bits 17 and 18, XFD): 8 KiB more to save with every thread; a
 *       host process must ask for it before its first vCPU, for the whole process; and KVM before
 *       Linux 6.4 offers half of it where nobody asked, with which Linux guests do not boot.
 *   <li>TSX (HLE, RTM, TSXLDTRK): a side channel (CVE-2019-11135), off on most machines by now.
 *   <li>MPX: gone from Linux and its processors; two states in XCR0 for nothing.
 *   <li>CET (SHSTK, IBT, XSS bits 11 and 12): KVM has it since Linux 6.18, and it counts only as a
 *       whole with its supervisor states. For when hosts have it and it can be tried.
 *   <li>Five-level page tables (LA57): no guest has 64 TiB, and each walk would take a step more.
 *       Linear addresses are told to have 48 bits to match.
 *   <li>Stores past the cache and hints to it (MOVDIRI, MOVDIR64B, ENQCMD, CLDEMOTE): for devices
 *       that the machine lacks, and to push lines to where neighbours can time them.
 *   <li>New ways into the kernel (FRED, LKGS, UINTR, LAM, PKS, key locker, USER_MSR, WRMSRNS,
 *       HRESET), and AVX10 and APX: not tried with any guest.
 *   <li>FLUSH_L1D, BUS_LOCK_DETECT, CORE_CAPABILITIES, SPLIT_LOCK: of use to hypervisors, and to
 *       those who share a machine; a guest is one tenant.
 *   <li>On AMD, Intel's names for what leaf 0x80000008 says there (SPEC_CTRL, STIBP, SSBD in leaf
 *       7), and ARCH_CAPABILITIES, which no AMD processor has; on Intel, AMD's names likewise. KVM
 *       offers both everywhere, some kernels of it more than others.
 *   <li>Frequencies (leaves 0x15, 0x16): KVM's clock tells them, and keeps telling the truth after
 *       a snapshot has moved.
 * </ul>
 *
 * <p>Instructions that keep no state cannot be taken away, only not be told: a program that uses
 * CLDEMOTE, MOVDIR64B or RTM without asking runs on processors that have it. What KVM controls (the
 * states of XCR0, WAITPKG, XSAVES, RDTSCP, INVPCID, PT, SGX) is refused.
 *
 * <p>A hidden feature's registers are refused as well: KVM looks at the guest's CPUID before it
 * answers ARCH_CAPABILITIES, XFD, XSS, UMWAIT_CONTROL, TSX_CTRL, PT's and SGX's; the counters go
 * with KVM_CAP_PMU_CAPABILITY, and KVM's own with KVM_CAP_ENFORCE_PV_FEATURE_CPUID. So a filter of
 * MSRs would add nothing but its upkeep. MISC_FEATURES_ENABLES (faulting CPUID) stays: KVM emulates
 * it for this vCPU alone.
 */
@NullMarked
package dev.nacelle.kvm.cpu;

import org.jspecify.annotations.NullMarked;
