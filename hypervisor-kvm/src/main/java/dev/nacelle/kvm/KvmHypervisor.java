// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.Stage;
import dev.nacelle.kvm.boot.BareImage;
import dev.nacelle.kvm.boot.LinuxKernel;
import dev.nacelle.kvm.boot.MachineLayout;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.kvm.vcpu.CpuidPolicy;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorException;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/** KVM, opened: what is the same for all of its virtual machines. */
final class KvmHypervisor implements Hypervisor {
  /** All but the virtio socket and the entropy device. */
  private static final int MAX_DISKS = MachineLayout.MAX_MMIO_DEVICES - 2;

  private final Kvm kvm;
  private final CpuidPolicy cpuid;
  private final int maxCpus;
  private final Set<KvmVirtualMachine> machines = ConcurrentHashMap.newKeySet();

  /** Read: the device is in use. Write: it is being closed. */
  private final ReadWriteLock opened = new ReentrantReadWriteLock();

  private boolean closed; // guarded by opened

  /** Takes the device over; it is closed with this. */
  KvmHypervisor(Kvm kvm) {
    this.kvm = kvm;
    cpuid =
        new CpuidPolicy(
            kvm.supportedCpuid(), kvm.check(Capability.KVM_CAP_TSC_DEADLINE_TIMER) != 0);
    maxCpus = Math.min(kvm.check(Capability.KVM_CAP_MAX_VCPUS), MachineLayout.MAX_CPUS);
  }

  @Override
  public VirtualMachine create(VmSpec spec) {
    if (spec.disks().size() > MAX_DISKS) {
      throw new HypervisorException(
          Stage.CREATE,
          "the virtual machine " + spec.name() + " wants " + spec.disks().size() + " disks",
          "It can have at most " + MAX_DISKS + ".",
          null);
    }
    List<DeviceFactory> devices = new ArrayList<>();
    devices.add(DeviceFactory.entropy());
    spec.disks().forEach(disk -> devices.add(DeviceFactory.disk(disk)));
    return create(
        new MachineSpec(
            spec.name(),
            spec.memoryBytes(),
            spec.cpus(),
            spec.consoleBytes(),
            payload(spec.guest()),
            devices));
  }

  private static Payload payload(VmSpec.Guest guest) {
    // A switch over the types of a sealed interface comes with Java 21.
    return guest instanceof VmSpec.Linux linux
        ? new LinuxKernel(linux.kernel(), linux.initramfs(), linux.parameters())
        : new BareImage(((VmSpec.Bare) guest).image(), ((VmSpec.Bare) guest).commandLine());
  }

  /** Builds any machine. */
  KvmVirtualMachine create(MachineSpec spec) {
    opened.readLock().lock();
    try {
      if (closed) {
        throw new IllegalStateException("the hypervisor is closed");
      }
      return build(spec);
    } finally {
      opened.readLock().unlock();
    }
  }

  private KvmVirtualMachine build(MachineSpec spec) {
    if (spec.cpus() > maxCpus) {
      throw new HypervisorException(
          Stage.CREATE,
          "the virtual machine " + spec.name() + " wants " + spec.cpus() + " vCPUs",
          "This host's KVM gives a virtual machine at most " + maxCpus + ".",
          null);
    }
    try {
      KvmVirtualMachine machine = new KvmVirtualMachine(kvm, cpuid, spec, machines::remove);
      machines.add(machine);
      return machine;
    } catch (ErrnoException e) {
      throw new HypervisorException(
          Stage.CREATE,
          "cannot create the virtual machine " + spec.name() + ": " + e.getMessage(),
          switch (e.errno()) {
            case Errno.EMFILE -> "Raise this process's limit of open files (ulimit -n).";
            case Errno.ENOMEM -> "Give it less memory, or free some of the host's.";
            default -> null;
          },
          e);
    }
  }

  @Override
  public void close() {
    opened.writeLock().lock();
    try {
      closed = true;
      machines.forEach(KvmVirtualMachine::close);
      kvm.close();
    } finally {
      opened.writeLock().unlock();
    }
  }
}
