// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.hyperv.vmbus.VmbusMachine;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Machines of Hyper-V's as their guests see them, run by this host's KVM: made from the same
 * documents, with the same disks, for kernels with the same drivers. It judges the guest's side,
 * and nothing of the service's.
 */
final class VmbusHypervisor implements Hypervisor {
  private static final MachineDocument.Host HOST =
      new MachineDocument.Host(MachineDocument.NEWEST, "tests", "S-1-5-21-1", 64);

  private final Set<VirtualMachine> machines = ConcurrentHashMap.newKeySet();

  /** Makes one. */
  static final class Provider implements HypervisorProvider {
    @Override
    public String name() {
      return "vmbus";
    }

    @Override
    public boolean supportsPlatform() {
      return true;
    }

    @Override
    public List<GuestDriver> drivers() {
      return new HypervProvider().drivers();
    }

    @Override
    public HostCheck check() {
      return HostCheck.of(name(), List.of()); // a machine that KVM refuses tells why
    }

    @Override
    public Hypervisor open() {
      return new VmbusHypervisor();
    }
  }

  @Override
  public VirtualMachine create(VmSpec spec) {
    List<Path> names = new ArrayList<>();
    try {
      List<VmSpec.Disk> disks = new ArrayList<>();
      for (VmSpec.Disk disk : spec.disks()) {
        Path vhd = disk.image().resolveSibling(UUID.randomUUID() + MachineDocument.VHD);
        FixedVhd.append(disk.image());
        FixedVhd.link(disk.image(), vhd);
        names.add(vhd);
        disks.add(VmSpec.Disk.of(disk.serial(), vhd, disk.readOnly()));
      }
      VirtualMachine machine =
          new VmbusMachine(MachineDocument.of(spec, disks, HOST, "\\\\.\\pipe\\none"), spec);
      machines.add(machine);
      return machine;
    } catch (IOException e) {
      throw new HypervisorException(Stage.CREATE, e.toString(), null, e);
    } finally {
      for (Path name : names) {
        boolean ignored = name.toFile().delete();
      }
    }
  }

  @Override
  public List<GuestDisk> guestDisks(VmSpec spec) {
    return MachineDocument.guestDisks(spec.disks().size());
  }

  @Override
  public void close() {
    machines.forEach(VirtualMachine::close);
  }
}
