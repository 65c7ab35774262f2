// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.hyperv.schema.DocumentException;
import dev.nacelle.hyperv.schema.SystemProperties;
import dev.nacelle.hyperv.schema.SystemQuery;
import dev.nacelle.hyperv.sys.ComputeSystem;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.HcsException;
import dev.nacelle.hyperv.sys.HcsLimits;
import dev.nacelle.hyperv.sys.HostComputeService;
import dev.nacelle.spi.DiskFormat;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.lang.System.Logger.Level;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The Host Compute Service, opened: what is the same for all of its virtual machines. */
final class HypervHypervisor implements Hypervisor {
  private static final DiskFormat DISK_FORMAT = new GrowingDisk();

  private final MachineDocument.Host host;
  private final HcsLimits limits;
  private final Set<HypervVirtualMachine> machines = new HashSet<>(); // guarded by itself
  private boolean closed; // guarded by machines

  /** Ends what processes that were killed have left. */
  HypervHypervisor(MachineDocument.Host host) {
    this(host, HcsLimits.DEFAULT);
  }

  /** Likewise, with another time that the service has. */
  HypervHypervisor(MachineDocument.Host host, HcsLimits limits) {
    this.host = host;
    this.limits = limits;
    endLeftovers();
  }

  private void endLeftovers() {
    try {
      for (SystemProperties machine :
          SystemProperties.parseList(
              HostComputeService.enumerate(SystemQuery.MACHINES.toJson(), limits.call()))) {
        String id = machine.id();
        String owner = machine.owner();
        if (id != null && owner != null && Owner.parse(owner).filter(Owner::hasEnded).isPresent()) {
          end(id);
        }
      }
    } catch (HcsException | DocumentException e) {
      logger().log(Level.WARNING, "Machines that other processes have left were not looked for", e);
    }
  }

  private void end(String id) {
    try (ComputeSystem left = ComputeSystem.open(id, limits)) {
      left.terminate();
      logger().log(Level.DEBUG, "Ended the machine {0}, whose process was killed", id);
    } catch (HcsException e) {
      // Unless it has ended meanwhile, by somebody else who looked for them.
      if (e.result() != HResult.HCS_E_SYSTEM_NOT_FOUND) {
        logger().log(Level.WARNING, "The machine " + id + ", whose process was killed, runs on", e);
      }
    }
  }

  @Override
  public VirtualMachine create(VmSpec spec) {
    synchronized (machines) {
      requireOpen();
    }
    HypervVirtualMachine machine = HypervVirtualMachine.create(spec, host, limits, this::released);
    synchronized (machines) {
      if (!closed) {
        machines.add(machine);
        return machine;
      }
    }
    // Whoever closed this has not seen it.
    machine.close();
    throw new IllegalStateException("the hypervisor was closed meanwhile");
  }

  @Override
  public List<GuestDisk> guestDisks(VmSpec spec) {
    return MachineDocument.guestDisks(spec.disks().size());
  }

  @Override
  public DiskFormat diskFormat() {
    return DISK_FORMAT;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the hypervisor is closed");
    }
  }

  private void released(HypervVirtualMachine machine) {
    synchronized (machines) {
      machines.remove(machine);
    }
  }

  @Override
  public void close() {
    List<HypervVirtualMachine> open;
    synchronized (machines) {
      closed = true;
      open = List.copyOf(machines);
    }
    List<MachineThread> closers = open.stream().map(HypervVirtualMachine::beginClose).toList();
    open.forEach(HypervVirtualMachine::close);
    closers.forEach(ThreadEnd::await);
  }

  private static System.Logger logger() {
    return System.getLogger(HypervHypervisor.class.getName());
  }
}
