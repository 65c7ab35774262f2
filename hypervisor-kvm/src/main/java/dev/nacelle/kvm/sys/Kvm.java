// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.sys;

import java.nio.file.Path;

/** /dev/kvm: the system ioctls (KVM API section 4). Safe for use from several threads. */
public final class Kvm implements AutoCloseable {
  /** The device node. */
  public static final Path PATH = Path.of("/dev/kvm");

  /** The only version there will be (KVM API section 4.1). */
  public static final int API_VERSION = 12;

  private final FileDescriptor descriptor;

  private Kvm(FileDescriptor descriptor) {
    this.descriptor = descriptor;
  }

  /**
   * Opens the device.
   *
   * @throws ErrnoException ENOENT, EACCES, ...
   */
  public static Kvm open() {
    return new Kvm(FileDescriptor.open(PATH, true));
  }

  /** KVM_GET_API_VERSION (section 4.1). */
  public int apiVersion() {
    return Ioctl.KVM_GET_API_VERSION.call(descriptor, 0);
  }

  /**
   * KVM_CHECK_EXTENSION (section 4.4).
   *
   * @return 0 when it is missing, otherwise 1 or a number that the capability defines
   */
  public int check(Capability capability) {
    return Ioctl.KVM_CHECK_EXTENSION.call(descriptor, capability.number());
  }

  /** KVM_GET_SUPPORTED_CPUID (section 4.46): what the guest's processors can be told to have. */
  public KvmCpuid supportedCpuid() {
    KvmCpuid cpuid = KvmCpuid.room();
    Ioctl.KVM_GET_SUPPORTED_CPUID.call(descriptor, cpuid);
    return cpuid;
  }

  /** KVM_GET_VCPU_MMAP_SIZE (section 4.5), in bytes. */
  int vcpuMappingSize() {
    return Ioctl.KVM_GET_VCPU_MMAP_SIZE.call(descriptor, 0);
  }

  /** KVM_CREATE_VM (section 4.2): a virtual machine without memory and vCPUs. */
  public KvmVm createVm() {
    int vcpuMappingSize = vcpuMappingSize();
    int fd = Ioctl.KVM_CREATE_VM.call(descriptor, 0);
    return new KvmVm(new FileDescriptor(fd, "KVM virtual machine"), vcpuMappingSize);
  }

  @Override
  public void close() {
    descriptor.close();
  }
}
