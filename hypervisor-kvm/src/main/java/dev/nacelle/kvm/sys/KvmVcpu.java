// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.OptionalLong;

/**
 * A KVM virtual processor: the vCPU ioctls (KVM API section 4). Used by one thread at a time, as a
 * rule the one that created it.
 */
public final class KvmVcpu implements AutoCloseable {
  /** struct kvm_msrs (section 4.18), without its entries. */
  static final int MSRS_SIZE = 8;

  private static final int MSR_ENTRY_SIZE = 16;

  /** struct kvm_device_attr (section 4.80). */
  static final int DEVICE_ATTR_SIZE = 24;

  // KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET (Documentation/virt/kvm/devices/vcpu.rst, section 4)
  private static final int TSC_CTRL = 0;
  private static final long TSC_OFFSET = 0;

  final FileDescriptor descriptor;
  private final Mapping mapping;
  private final ByteBuffer run;

  KvmVcpu(FileDescriptor descriptor, Mapping mapping) {
    this.descriptor = descriptor;
    this.mapping = mapping;
    run = mapping.buffer(0, (int) mapping.length()).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * KVM_RUN (section 4.10): runs the guest until it needs its host. Allocates nothing and throws
   * nothing.
   *
   * @return 0 when {@link #run} tells why it stopped, otherwise one of {@link Errno}; EINTR after a
   *     signal
   */
  public int enter() {
    int result = Libc.ioctl(descriptor.fd(), Ioctl.KVM_RUN.number(), 0);
    return result < 0 ? Libc.errno() : 0;
  }

  /**
   * The memory shared with the kernel (section 5), laid out as {@link KvmRun} says, little endian.
   * Not to be used after close.
   */
  public ByteBuffer run() {
    return run;
  }

  /** KVM_GET_REGS (section 4.11). */
  public void get(KvmRegs regs) {
    Ioctl.KVM_GET_REGS.call(descriptor, regs);
  }

  /** KVM_SET_REGS (section 4.12). */
  public void set(KvmRegs regs) {
    Ioctl.KVM_SET_REGS.call(descriptor, regs);
  }

  /** KVM_GET_SREGS (section 4.13). */
  public void get(KvmSregs sregs) {
    Ioctl.KVM_GET_SREGS.call(descriptor, sregs);
  }

  /** KVM_SET_SREGS (section 4.14). */
  public void set(KvmSregs sregs) {
    Ioctl.KVM_SET_SREGS.call(descriptor, sregs);
  }

  /**
   * KVM_CAP_ENFORCE_PV_FEATURE_CPUID (section 7.25), for a KVM that has it: registers and calls of
   * KVM's own features that CPUID does not tell are refused.
   */
  public void enforceKvmFeatures() {
    KvmVm.enable(descriptor, Capability.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1);
  }

  /** KVM_SET_CPUID2 (section 4.20), before the MSRs that depend on it. */
  public void set(KvmCpuid cpuid) {
    Ioctl.KVM_SET_CPUID2.call(descriptor, cpuid);
  }

  /**
   * KVM_SET_MSRS (section 4.19), of one register.
   *
   * @return false when this KVM has no such register, or not with this value
   */
  public boolean setMsr(int index, long value) {
    NativeStruct msrs = new NativeStruct(MSRS_SIZE + MSR_ENTRY_SIZE);
    msrs.bytes().putInt(0, 1).putInt(MSRS_SIZE, index).putLong(MSRS_SIZE + 8, value);
    return Ioctl.KVM_SET_MSRS.call(descriptor, msrs) == 1;
  }

  /**
   * KVM_GET_MSRS (section 4.18), of one register.
   *
   * @return empty when this KVM has no such register
   */
  public OptionalLong getMsr(int index) {
    NativeStruct msrs = new NativeStruct(MSRS_SIZE + MSR_ENTRY_SIZE);
    msrs.bytes().putInt(0, 1).putInt(MSRS_SIZE, index);
    return Ioctl.KVM_GET_MSRS.call(descriptor, msrs) == 1
        ? OptionalLong.of(msrs.bytes().getLong(MSRS_SIZE + 8))
        : OptionalLong.empty();
  }

  /**
   * Has the time stamp counter tell less (KVM_VCPU_TSC_OFFSET, since Linux 5.16; section 4.80).
   *
   * @param ticks of the guest's
   * @return false when this KVM cannot
   */
  public boolean turnBackTsc(long ticks) {
    NativeStruct offset = new NativeStruct(Long.BYTES);
    NativeStruct attribute = new NativeStruct(DEVICE_ATTR_SIZE);
    attribute.bytes().putInt(4, TSC_CTRL).putLong(8, TSC_OFFSET).putLong(16, offset.address());
    try {
      Ioctl.KVM_HAS_DEVICE_ATTR.call(descriptor, attribute);
    } catch (ErrnoException e) {
      return false;
    }
    try {
      Ioctl.KVM_GET_DEVICE_ATTR.call(descriptor, attribute);
      offset.bytes().putLong(0, offset.bytes().getLong(0) - ticks);
      Ioctl.KVM_SET_DEVICE_ATTR.call(descriptor, attribute);
      return true;
    } finally {
      Reference.reachabilityFence(offset);
    }
  }

  /**
   * KVM_KVMCLOCK_CTRL (section 4.70): tells a guest that uses KVM's clock that it did not run, so
   * that its watchdogs take no offence. Of no effect on any other guest.
   */
  public void tellOfPause() {
    try {
      Ioctl.KVM_KVMCLOCK_CTRL.call(descriptor, 0);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.EINVAL) {
        throw e;
      }
    }
  }

  /**
   * KVM_SET_SIGNAL_MASK (section 4.21): what is blocked while the guest runs, instead of what is
   * blocked in the thread.
   */
  public void setSignalMask(long blocked) {
    NativeStruct mask = new NativeStruct(Integer.BYTES + ThreadSignal.MASK_SIZE);
    mask.bytes().putInt(0, ThreadSignal.MASK_SIZE).putLong(Integer.BYTES, blocked);
    Ioctl.KVM_SET_SIGNAL_MASK.call(descriptor, mask);
  }

  @Override
  public void close() {
    mapping.close();
    descriptor.close();
  }
}
