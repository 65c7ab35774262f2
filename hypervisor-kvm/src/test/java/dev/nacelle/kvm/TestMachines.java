// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.block.HangingDisk;
import dev.nacelle.kvm.sys.Kvm;
import java.util.List;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** Opens this host's KVM for a test, and closes it and all machines afterwards. */
final class TestMachines implements BeforeEachCallback, AfterEachCallback {
  static final long MEMORY = 2 << 20;

  private KvmHypervisor hypervisor;

  @SuppressWarnings("NullAway.Init") // before each test
  TestMachines() {}

  @Override
  public void beforeEach(ExtensionContext context) {
    hypervisor = new KvmHypervisor(Kvm.open());
  }

  @Override
  public void afterEach(ExtensionContext context) {
    hypervisor.close();
  }

  KvmHypervisor hypervisor() {
    return hypervisor;
  }

  /** Creates a machine with one vCPU. */
  KvmVirtualMachine create(Payload payload, DeviceFactory... devices) {
    return create(1, payload, devices);
  }

  /** Creates a machine. */
  KvmVirtualMachine create(int cpus, Payload payload, DeviceFactory... devices) {
    return create(MEMORY, cpus, payload, devices);
  }

  private KvmVirtualMachine create(
      long memory, int cpus, Payload payload, DeviceFactory... devices) {
    return hypervisor.create(
        new MachineSpec("test", memory, cpus, 1024, payload, List.of(devices)));
  }

  /** Creates a machine with one vCPU and starts it. */
  KvmVirtualMachine start(Payload payload, DeviceFactory... devices) {
    return start(MEMORY, payload, devices);
  }

  /** Likewise, with another size of memory. */
  KvmVirtualMachine start(long memory, Payload payload, DeviceFactory... devices) {
    KvmVirtualMachine machine = create(memory, 1, payload, devices);
    machine.start();
    return machine;
  }

  /** A disk for a machine, waited for 50 ms where it must not be waited for for ever. */
  static DeviceFactory factory(HangingDisk disk) {
    return new DeviceFactory() {
      @Override
      public AttachedDevice create(DeviceResources resources) {
        return DeviceFactory.overMmio(disk.device(resources, 50));
      }

      @Override
      public boolean waits() {
        return true;
      }
    };
  }
}
