// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.lang.ref.Reference;

/**
 * The ioctls of the KVM API (Documentation/virt/kvm/api.rst, section 4), numbered as
 * include/uapi/linux/kvm.h does for x86-64.
 */
enum Ioctl {
  KVM_GET_API_VERSION(0xae00),
  KVM_CREATE_VM(0xae01),
  KVM_CHECK_EXTENSION(0xae03),
  KVM_GET_VCPU_MMAP_SIZE(0xae04),
  KVM_GET_SUPPORTED_CPUID(0xc008ae05L),

  KVM_CREATE_VCPU(0xae41),
  KVM_SET_USER_MEMORY_REGION(0x4020ae46),
  KVM_SET_TSS_ADDR(0xae47),
  KVM_SET_IDENTITY_MAP_ADDR(0x4008ae48),
  KVM_CREATE_IRQCHIP(0xae60),
  KVM_IRQ_LINE(0x4008ae61),
  KVM_GET_IRQCHIP(0xc208ae62L),
  KVM_SET_IRQCHIP(0x8208ae63L),
  KVM_IRQFD(0x4020ae76),
  KVM_CREATE_PIT2(0x4040ae77),
  KVM_GET_PIT2(0x8070ae9fL),
  KVM_SET_PIT2(0x4070aea0),
  KVM_IOEVENTFD(0x4040ae79),
  KVM_SET_CLOCK(0x4030ae7b),
  KVM_GET_CLOCK(0x8030ae7cL),
  KVM_ENABLE_CAP(0x4068aea3),

  KVM_RUN(0xae80),
  KVM_GET_REGS(0x8090ae81L),
  KVM_SET_REGS(0x4090ae82),
  KVM_GET_SREGS(0x8138ae83L),
  KVM_SET_SREGS(0x4138ae84),
  KVM_GET_MSRS(0xc008ae88L),
  KVM_SET_MSRS(0x4008ae89),
  KVM_SET_SIGNAL_MASK(0x4004ae8b),
  KVM_SET_CPUID2(0x4008ae90),
  KVM_KVMCLOCK_CTRL(0xaead),
  KVM_SET_DEVICE_ATTR(0x4018aee1),
  KVM_GET_DEVICE_ATTR(0x4018aee2),
  KVM_HAS_DEVICE_ATTR(0x4018aee3);

  private final long number;

  Ioctl(long number) {
    this.number = number;
  }

  long number() {
    return number;
  }

  /**
   * The size of the argument that the number tells (_IOC_SIZE); 0 where the argument is a number.
   */
  int argumentSize() {
    return (int) (number >>> 16) & 0x3fff;
  }

  /**
   * Calls it, again when interrupted.
   *
   * @return what it returned, at least 0
   * @throws ErrnoException when it failed
   */
  int call(FileDescriptor file, long argument) {
    while (true) {
      int result = Libc.ioctl(file.fd(), number, argument);
      if (result >= 0) {
        return result;
      }
      int errno = Libc.errno();
      if (errno != Errno.EINTR) {
        throw new ErrnoException(name(), errno);
      }
    }
  }

  /** As {@link #call(FileDescriptor, long)}, with the address of a structure. */
  int call(FileDescriptor file, NativeStruct argument) {
    try {
      return call(file, argument.address());
    } finally {
      Reference.reachabilityFence(argument);
    }
  }
}
