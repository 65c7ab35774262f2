// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

/** Capabilities of KVM (KVM API section 4.4; include/uapi/linux/kvm.h) that are needed or used. */
public enum Capability {
  KVM_CAP_IRQCHIP(0, true),
  KVM_CAP_USER_MEMORY(3, true),
  KVM_CAP_SET_TSS_ADDR(4, true),
  KVM_CAP_EXT_CPUID(7, true),
  KVM_CAP_IRQFD(32, true),
  KVM_CAP_PIT2(33, true),
  KVM_CAP_IOEVENTFD(36, true),
  KVM_CAP_SET_IDENTITY_MAP_ADDR(37, true),
  KVM_CAP_MAX_VCPUS(66, false),
  KVM_CAP_TSC_DEADLINE_TIMER(72, false),
  KVM_CAP_ENFORCE_PV_FEATURE_CPUID(190, false),
  KVM_CAP_X86_BUS_LOCK_EXIT(193, false),
  KVM_CAP_PMU_CAPABILITY(212, false),
  KVM_CAP_X86_NOTIFY_VMEXIT(219, false);

  private final int number;
  private final boolean required;

  Capability(int number, boolean required) {
    this.number = number;
    this.required = required;
  }

  /** Whether no virtual machine can do without it. */
  public boolean required() {
    return required;
  }

  int number() {
    return number;
  }
}
