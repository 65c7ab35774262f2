// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.vcpu;

/** Names of the KVM_EXIT_ reasons (include/uapi/linux/kvm.h) that x86 can give. */
final class ExitReason {
  private ExitReason() {}

  static String name(int reason) {
    return switch (reason) {
      case 0 -> "unknown";
      case 1 -> "exception";
      case 2 -> "io";
      case 3 -> "hypercall";
      case 4 -> "debug";
      case 5 -> "hlt";
      case 6 -> "mmio";
      case 7 -> "irq-window-open";
      case 8 -> "shutdown";
      case 9 -> "fail-entry";
      case 10 -> "intr";
      case 11 -> "set-tpr";
      case 12 -> "tpr-access";
      case 16 -> "nmi";
      case 17 -> "internal-error";
      case 24 -> "system-event";
      case 26 -> "ioapic-eoi";
      case 27 -> "hyperv";
      case 29 -> "rdmsr";
      case 30 -> "wrmsr";
      case 31 -> "dirty-ring-full";
      case 33 -> "bus-lock";
      case 34 -> "xen";
      case 37 -> "notify";
      case 39 -> "memory-fault";
      default -> "exit-" + reason;
    };
  }
}
