// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimits;
import dev.nacelle.Stage;
import dev.nacelle.hyperv.schema.ComputeSystemDocument;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Attachment;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.AttachmentType;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Chipset;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.ComPort;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Devices;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.HvSocket;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.HvSocketSystemConfig;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.LinuxKernelDirect;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Memory;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Processor;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Scsi;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.Topology;
import dev.nacelle.hyperv.schema.ComputeSystemDocument.VirtualMachine;
import dev.nacelle.hyperv.schema.Version;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.VmSpec;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** Says in the service's words what a machine is to be. */
final class MachineDocument {
  /** Windows 10 1903, build 18362: the first that boots a Linux kernel without firmware. */
  static final Version OLDEST = new Version(2, 2);

  /** Windows 10 2004. */
  private static final Version V2_3 = new Version(2, 3);

  /** Windows 11 21H2: the newest whose schema is published. */
  static final Version NEWEST = new Version(2, 6);

  /**
   * The instance IDs of the controllers, which the guest sees in /sys/bus/vmbus/devices. Any will
   * do; these are the ones of hcsshim, made from "ScsiController0" and so on.
   */
  static final List<String> SCSI_CONTROLLERS =
      List.of(
          "df6d0690-79e5-55b6-a5ec-c1e2f77f580a",
          "0110f83b-de10-5172-a266-78bca56bf50a",
          "b5d2d8d4-3a75-51bf-945b-3444dc6b8579",
          "305891a9-b251-5dfe-91a2-c25d9212275b");

  /** How many disks a controller has. */
  static final int LUNS = 64;

  /** The service wants an even number of MiB. */
  private static final long MEMORY_STEP = 2L << 20;

  private static final int TRIAL_MEBIBYTES = 32;

  /** MAX_PATH, with the zero at its end: longer ones are not everywhere understood. */
  static final int MAX_PATH = 260;

  /** A disk's format is told from this: a fixed VHD. */
  static final String VHD = ".vhd";

  /** Likewise: a VHDX. */
  static final String VHDX = "." + DynamicVhdx.EXTENSION;

  /**
   * Before the caller's parameters: of two settings of one parameter the kernel takes the later
   * (Documentation/admin-guide/kernel-parameters.txt).
   */
  private static final String PARAMETERS =
      String.join(
          " ",
          "console=ttyS0",
          // Each character costs exits.
          "loglevel=3",
          // As hcsshim: one port, of which the driver believes that it sends.
          "8250_core.nr_uarts=1",
          "8250_core.skip_txen_test=1",
          // A panic resets, and a reset ends the machine (StopOnReset).
          "panic=-1",
          // There is no PCI.
          "pci=off",
          // The clock is Hyper-V's, which needs no other to be tried out first.
          "pmtmr=0",
          // Of kernels that have both, or AF_VSOCK would not be Hyper-V's.
          "initcall_blacklist=virtio_vsock_init",
          "cryptomgr.notests");

  private MachineDocument() {}

  /**
   * What a document says of the host, and not of the machine.
   *
   * @param schema the highest version that the service takes
   * @param owner whose its machines are
   * @param userSid the user of this process, "S-1-...": the only one, with the system, who may
   *     connect to the guest. Not the administrators: one who is not elevated is none for this
   * @param processors how many it has
   */
  record Host(Version schema, String owner, String userSid, int processors) {
    Host {
      if (!userSid.matches("S-1(-[0-9]{1,10}){2,15}")) {
        throw new IllegalArgumentException("not a user's security identifier: " + userSid);
      }
    }
  }

  /**
   * Makes the document of a machine.
   *
   * @param spec what it is to be
   * @param disks the specification's, as VHDs and VHDXs: {@link MachineDisks#disks}
   * @param consolePipe the pipe that its serial port writes to
   * @throws HypervisorException when the machine cannot be
   */
  static ComputeSystemDocument of(
      VmSpec spec, List<VmSpec.Disk> disks, Host host, String consolePipe) {
    Version version = version(host.schema);
    if (!(spec.guest() instanceof VmSpec.Linux linux)) {
      throw refuse("Hyper-V boots Linux kernels only", "Use a Linux kernel, or KVM.");
    }
    if (spec.cpus() > host.processors) {
      throw refuse(
          spec.cpus() + " vCPUs are more than the " + host.processors + " processors of this host",
          "Give the machine fewer.");
    }
    if (spec.cpuQuota().isPresent() || spec.niceness() != 0) {
      throw refuse(
          "Hyper-V has no quota of CPU time and no niceness that are those of " + spec.name(),
          "Make the machine without, or on KVM.");
    }
    if (!spec.rateLimits().equals(RateLimits.NONE)) {
      throw refuse(
          "Hyper-V has no limits of rates that are those of " + spec.name(),
          "Make the machine without, or on KVM.");
    }
    return new ComputeSystemDocument(
        host.owner,
        version,
        true,
        new VirtualMachine(
            true,
            new Chipset(true, kernel(linux, spec.cpus())),
            new Topology(memory(spec, linux.memoryPolicy(), version), new Processor(spec.cpus())),
            new Devices(
                Map.of("0", new ComPort(consolePipe)),
                disks(disks, version),
                sockets(host.userSid))));
  }

  /** A machine that is made to see whether one can be, and never started. */
  static ComputeSystemDocument trial(Host host) {
    return new ComputeSystemDocument(
        host.owner,
        version(host.schema),
        true,
        new VirtualMachine(
            true,
            new Chipset(true, null),
            new Topology(new Memory(TRIAL_MEBIBYTES, true, null, null), new Processor(1)),
            new Devices(Map.of(), Map.of(), sockets(host.userSid))));
  }

  /** That of the document: a part of what the service takes. */
  private static Version version(Version highest) {
    if (highest.compareTo(OLDEST) < 0) {
      throw new HypervisorException(
          Stage.HOST,
          "This Windows takes documents of the schema " + highest + ", which has no Linux kernels",
          "Use Windows 10 1903 (build 18362) or newer.",
          null);
    }
    return highest.compareTo(NEWEST) < 0 ? highest : NEWEST;
  }

  private static LinuxKernelDirect kernel(VmSpec.Linux linux, int cpus) {
    String parameters = PARAMETERS + " nr_cpus=" + cpus + " " + linux.parameters().trim();
    return new LinuxKernelDirect(
        path(linux.kernel()),
        linux.initramfs().map(MachineDocument::path).orElse(null),
        parameters.trim());
  }

  private static Memory memory(VmSpec spec, MemoryPolicy policy, Version version) {
    long bytes = spec.memory().bytes();
    if (bytes % MEMORY_STEP != 0) {
      throw refuse(
          "Hyper-V gives memory in steps of 2 MiB, and not " + bytes + " bytes",
          "Give the machine a multiple of 2 MiB.");
    }
    if (policy == MemoryPolicy.HUGE_PAGES) {
      throw refuse(
          "Hyper-V has no huge pages that are reserved for machines (MemoryPolicy.HUGE_PAGES)",
          "Use MemoryPolicy.SPEED, whose memory Hyper-V has in large pages where it can.");
    }
    boolean dense = policy == MemoryPolicy.DENSITY;
    // The schema of 2.2 has it, but hcsshim knows it to be refused before build 18967.
    boolean discards = dense && version.compareTo(V2_3) >= 0;
    return new Memory(bytes >>> 20, true, dense ? true : null, discards ? true : null);
  }

  private static Map<String, Scsi> disks(List<VmSpec.Disk> disks, Version version) {
    if (disks.size() > SCSI_CONTROLLERS.size() * LUNS) {
      throw refuse(
          disks.size() + " disks are more than " + SCSI_CONTROLLERS.size() * LUNS,
          "Give the machine fewer.");
    }
    @Nullable Boolean since2004 = version.compareTo(V2_3) >= 0 ? true : null;
    @Nullable Boolean since11 = version.compareTo(NEWEST) >= 0 ? true : null;
    Map<String, Scsi> controllers = new TreeMap<>();
    for (int i = 0; i < disks.size(); i++) {
      VmSpec.Disk disk = disks.get(i);
      String path = path(disk.image());
      if (!path.endsWith(VHD) && !path.endsWith(VHDX)) {
        throw new IllegalArgumentException("neither a VHD nor a VHDX: " + path);
      }
      controllers
          .computeIfAbsent(SCSI_CONTROLLERS.get(i / LUNS), c -> new Scsi(new TreeMap<>()))
          .attachments()
          .put(
              String.valueOf(i % LUNS),
              new Attachment(
                  AttachmentType.VIRTUAL_DISK, path, disk.readOnly(), since2004, since11, since11));
    }
    return controllers;
  }

  /** Where a guest finds that many disks: as {@link #disks} places them. */
  static List<GuestDisk> guestDisks(int count) {
    return IntStream.range(0, count)
        .<GuestDisk>mapToObj(
            i -> new GuestDisk.Scsi(UUID.fromString(SCSI_CONTROLLERS.get(i / LUNS)), i % LUNS))
        .toList();
  }

  private static HvSocket sockets(String userSid) {
    // Protected; all access for the system and the user.
    String descriptor = "D:P(A;;FA;;;SY)(A;;FA;;;" + userSid + ")";
    return new HvSocket(new HvSocketSystemConfig(descriptor, descriptor));
  }

  private static String path(Path file) {
    String path = file.toString();
    if (!file.isAbsolute()) {
      throw new IllegalArgumentException("not an absolute path: " + path);
    }
    if (path.length() >= MAX_PATH) {
      throw refuse(
          "The path " + path + " has " + path.length() + " characters, more than Windows takes",
          "Choose a cache directory with a shorter path.");
    }
    return path;
  }

  private static HypervisorException refuse(String message, String remedy) {
    return new HypervisorException(Stage.CREATE, message, remedy, null);
  }
}
