// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A KVM virtual processor: the vCPU ioctls (KVM API section 4). Used by one thread, the one that
 * created it.
 */
public final class KvmVcpu implements AutoCloseable {
  /** struct kvm_msrs (section 4.18), without its entries. */
  static final int MSRS_SIZE = 8;

  private static final int MSR_ENTRY_SIZE = 16;

  private final FileDescriptor descriptor;
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
