// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.fake;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.agent.FakeProgram;
import dev.nacelle.spi.DiskFormat;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestDriver.Use;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.channels.SeekableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;

/** A hypervisor whose guests are the agent's contract in Java; its faults are chosen. */
public final class FakeHypervisor implements HypervisorProvider, Hypervisor {
  /** What goes wrong, and where. */
  public enum Fault {
    NONE,
    /** The host cannot run virtual machines. */
    UNUSABLE_HOST,
    /** The host runs virtual machines, but no kernels that were not written for it. */
    EMULATES_KERNELS,
    CREATE_FAILS,
    /** The guest panics before it dials. */
    PANICS_BEFORE_DIALLING,
    /** The guest neither dials nor ends. */
    NEVER_DIALS,
    /** The guest dials, and what it says is not HTTP/2. */
    SPEAKS_GARBAGE,
    /** The guest dials and then says nothing. */
    DIALS_AND_IS_SILENT,
    DIES_IN_GET_INFO,
    DIES_IN_PREPARE,
    REFUSES_TO_PREPARE,
    NEVER_PREPARES,
    /** The guest says that it is prepared, but its network does not reach the host. */
    HAS_NO_NETWORK,
    /** The connection breaks while the machine lives on. */
    BREAKS_CONNECTION_IN_PREPARE,
    /** Signals are neither answered nor sent. */
    IGNORES_SIGNALS,
    /** A process is neither started, nor is it said why not. */
    NEVER_STARTS_PROCESSES,
    /** Shutdown is not answered, and nothing happens. */
    IGNORES_SHUTDOWN,
    /** Shutdown is answered, and nothing happens. */
    NEVER_POWERS_OFF,
    /** Machines cannot be paused. */
    CANNOT_BE_PAUSED,
    /** A machine ends when it is to be paused, and that throws. */
    PAUSE_FAILS,
    /** Starting a machine throws. */
    START_FAILS,
    /** Closing a machine throws, when it has been closed. */
    CLOSE_FAILS
  }

  /** Where the disks of its machines are. */
  public static final UUID CONTROLLER = UUID.fromString("df6d0690-79e5-55b6-a5ec-c1e2f77f580a");

  /** What a kernel needs for its machines: as for virtio over MMIO. */
  public static final List<GuestDriver> DRIVERS =
      List.of(
          new GuestDriver("VIRTIO_MMIO", "virtio_mmio", Use.BUS),
          new GuestDriver("VIRTIO_VSOCKETS", "vmw_vsock_virtio_transport", Use.CONNECTION),
          new GuestDriver("VIRTIO_BLK", "virtio_blk", Use.DISK),
          new GuestDriver("HW_RANDOM_VIRTIO", "virtio_rng", Use.ENTROPY));

  private final Map<String, FakeProgram> programs;
  private final Fault fault;
  private final List<FakeMachine> created = new CopyOnWriteArrayList<>();
  private final Set<FakeMachine> open = ConcurrentHashMap.newKeySet();
  private final List<Path> namesMissed = new CopyOnWriteArrayList<>();
  private volatile DiskFormat diskFormat = DiskFormat.RAW;
  private volatile @Nullable String clockOption;
  private volatile boolean closed;

  public FakeHypervisor(Map<String, FakeProgram> programs, Fault fault) {
    this.programs = Map.copyOf(programs);
    this.fault = fault;
  }

  /** Every machine that was made. */
  public List<FakeMachine> machines() {
    return List.copyOf(created);
  }

  /** How many machines are not closed. */
  public int openMachines() {
    return open.size();
  }

  public boolean isClosed() {
    return closed;
  }

  @Override
  public String name() {
    return "fake";
  }

  @Override
  public boolean supportsPlatform() {
    return true;
  }

  @Override
  public List<GuestDriver> drivers() {
    return DRIVERS;
  }

  @Override
  public Optional<String> clockOption() {
    return Optional.ofNullable(clockOption);
  }

  /** Keeps time for kernels with that option. */
  public void keepTimeFor(String option) {
    clockOption = option;
  }

  @Override
  public HostCheck check() {
    String kernels = "runs-kernels";
    return HostCheck.of(
        "fake",
        List.of(
            fault == Fault.UNUSABLE_HOST
                ? Finding.failed("device-node", "/dev/fake does not exist", "Load the fake module.")
                : Finding.passed("device-node", "/dev/fake"),
            fault == Fault.EMULATES_KERNELS
                ? Finding.failed(kernels, "what a kernel does", "Use another host.")
                    .about(HostCheck.Ability.LINUX_KERNELS)
                : Finding.passed(kernels, "what a kernel does")));
  }

  @Override
  public Hypervisor open() {
    if (fault == Fault.UNUSABLE_HOST) {
      throw new HypervisorException(Stage.HOST, "/dev/fake does not exist", null, null);
    }
    return this;
  }

  /** As Hyper-V's are found; the agent here finds any. */
  @Override
  public List<GuestDisk> guestDisks(VmSpec spec) {
    List<GuestDisk> found = new ArrayList<>();
    for (int lun = 0; lun < spec.disks().size(); lun++) {
      found.add(new GuestDisk.Scsi(CONTROLLER, lun));
    }
    return found;
  }

  @Override
  public VirtualMachine create(VmSpec spec) {
    if (fault == Fault.CREATE_FAILS) {
      throw new HypervisorException(
          Stage.CREATE, "KVM_CREATE_VM: too many open files", "Raise the limit.", null);
    }
    FakeMachine machine = new FakeMachine(spec, programs, fault, this::closed);
    created.add(machine);
    open.add(machine);
    return machine;
  }

  private void closed(FakeMachine machine) {
    open.remove(machine);
    if (diskFormat.needsName()) {
      machine.spec().disks().stream()
          .filter(disk -> !disk.readOnly() && Files.notExists(disk.image()))
          .forEach(disk -> namesMissed.add(disk.image()));
    }
  }

  /** Machines need the names of their images until they are closed, from now on. */
  public void needDiskNames() {
    diskFormat =
        new DiskFormat() {
          @Override
          public String extension() {
            return "fake";
          }

          @Override
          public boolean needsName() {
            return true;
          }

          @Override
          public SeekableByteChannel open(Path file, long bytes) throws IOException {
            return RAW.open(file, bytes);
          }
        };
  }

  /** What was taken away from machines that were not closed yet. */
  public List<Path> namesMissed() {
    return List.copyOf(namesMissed);
  }

  @Override
  public DiskFormat diskFormat() {
    return diskFormat;
  }

  @Override
  public void close() {
    closed = true;
    open.forEach(FakeMachine::close);
  }
}
