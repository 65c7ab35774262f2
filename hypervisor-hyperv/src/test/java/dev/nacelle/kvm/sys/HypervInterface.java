// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.ByteBuffer;

/**
 * What KVM has of Hyper-V's interface for guests (Hypervisor Top Level Functional Specification,
 * TLFS): a synthetic interrupt controller (SynIC) on each vCPU, and exits of its hypercalls. Only
 * for tests, which play Hyper-V for a guest; so it is none of the module's own ioctls.
 */
public final class HypervInterface {
  /**
   * The exit, and its kinds: struct kvm_hyperv_exit, at the same place as all others (section 5).
   */
  public static final int EXIT_HYPERV = 27;

  public static final int TYPE = 32;
  public static final int TYPE_SYNIC = 1;
  public static final int TYPE_HYPERCALL = 2;

  public static final int SYNIC_EVENT_PAGE = 56;
  public static final int SYNIC_MESSAGE_PAGE = 64;

  public static final int HYPERCALL_INPUT = 40;
  public static final int HYPERCALL_RESULT = 48;
  public static final int HYPERCALL_PARAMETER = 56;

  private static final long KVM_SET_GSI_ROUTING = 0x4008_ae6aL;
  private static final int KVM_CAP_HYPERV_SYNIC2 = 148;

  private static final int KVM_IRQ_ROUTING_IRQCHIP = 1;
  private static final int KVM_IRQ_ROUTING_HV_SINT = 4;
  private static final int KVM_IRQCHIP_IOAPIC = 2;

  /** Inputs of the I/O APIC; the synthetic interrupts come behind them. */
  private static final int IO_APIC_INPUTS = 24;

  /** struct kvm_irq_routing and its entries. */
  private static final int ROUTING_SIZE = 8;

  private static final int ROUTE_SIZE = 48;

  private HypervInterface() {}

  /** KVM_CAP_HYPERV_SYNIC2 (section 6.6.2): whose pages the guest zeroes itself. */
  public static void enableSynic(KvmVcpu vcpu) {
    NativeStruct enable = new NativeStruct(KvmVm.ENABLE_CAP_SIZE);
    enable.bytes().putInt(0, KVM_CAP_HYPERV_SYNIC2);
    Ioctl.KVM_ENABLE_CAP.call(vcpu.descriptor, enable);
  }

  /**
   * KVM_SET_GSI_ROUTING (section 4.52): the I/O APIC as it is, and one synthetic interrupt of each
   * vCPU, whose SynIC is enabled, at {@link #gsi}.
   */
  public static void route(KvmVm vm, int vcpus, int sint) {
    int count = IO_APIC_INPUTS + vcpus;
    NativeStruct routing = new NativeStruct(ROUTING_SIZE + count * ROUTE_SIZE);
    ByteBuffer bytes = routing.bytes().putInt(0, count);
    for (int gsi = 0; gsi < count; gsi++) {
      boolean synthetic = gsi >= IO_APIC_INPUTS;
      int at = ROUTING_SIZE + gsi * ROUTE_SIZE;
      bytes
          .putInt(at, gsi)
          .putInt(at + 4, synthetic ? KVM_IRQ_ROUTING_HV_SINT : KVM_IRQ_ROUTING_IRQCHIP)
          .putInt(at + 16, synthetic ? gsi - IO_APIC_INPUTS : KVM_IRQCHIP_IOAPIC)
          .putInt(at + 20, synthetic ? sint : gsi);
    }
    if (Libc.ioctl(vm.descriptor.fd(), KVM_SET_GSI_ROUTING, routing.address()) < 0) {
      throw new ErrnoException("KVM_SET_GSI_ROUTING", Libc.errno());
    }
  }

  /** Where a vCPU's synthetic interrupt is raised. */
  public static int gsi(int vcpu) {
    return IO_APIC_INPUTS + vcpu;
  }
}
