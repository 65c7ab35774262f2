// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import com.google.protobuf.ByteString;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.proto.agent.v1.CgroupSetting;
import dev.nacelle.proto.agent.v1.PrepareRequest;
import dev.nacelle.proto.agent.v1.RootFilesystem;
import dev.nacelle.proto.agent.v1.ScsiDisk;
import dev.nacelle.proto.agent.v1.Sysctl;
import dev.nacelle.proto.agent.v1.WorkloadLimits;
import dev.nacelle.spi.GuestDisk;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * What the agent prepares once, before the first process.
 *
 * @param imageDisk the disk that holds the root image
 * @param scratchDisk the disk that holds the writable layer; null for one in memory
 * @param writableBytes limit of a writable layer in memory, in bytes; 0 for the agent's default
 * @param sharedMemoryBytes limit of /dev/shm, in bytes; 0 for the agent's default
 * @param hostname 1 to 64 bytes
 * @param pids largest number of processes and threads; 0 for the agent's default
 * @param sysctls values by name, with dots between the name's parts; set in this order
 * @param container how the root is furnished
 * @param dataDisks what is mounted beside the root, in this order
 * @param network how it reaches others; null for not at all
 */
public record Workload(
    GuestDisk imageDisk,
    @Nullable GuestDisk scratchDisk,
    long writableBytes,
    long sharedMemoryBytes,
    String hostname,
    long pids,
    Map<String, String> sysctls,
    ContainerSpec container,
    List<DataDisk> dataDisks,
    @Nullable Network network) {

  /**
   * A disk beside those of the root.
   *
   * @param path where it is mounted
   * @param kept whether it outlives the machine
   */
  public record DataDisk(GuestDisk disk, String path, boolean readOnly, boolean kept) {}

  /**
   * An interface whose other end is the host.
   *
   * @param ipv6 whether it has an address of IPv6 beside that of IPv4
   */
  public record Network(boolean ipv6) {}

  /** What the agent has to know of, for this. */
  List<String> features() {
    List<String> features = new ArrayList<>();
    BiConsumer<Boolean, String> need =
        (needed, feature) -> {
          if (needed) {
            features.add(feature);
          }
        };
    need.accept(sharedMemoryBytes != 0, AgentInfo.SHARED_MEMORY);
    need.accept(!dataDisks.isEmpty(), AgentInfo.DATA_DISKS);
    need.accept(
        imageDisk instanceof GuestDisk.Scsi || scratchDisk instanceof GuestDisk.Scsi,
        AgentInfo.SCSI_DISK);
    need.accept(isFurnished(), AgentInfo.FURNISHING);
    need.accept(
        container.mounts().stream().anyMatch(Furnishings::wantsMountOptions),
        AgentInfo.MOUNT_OPTIONS);
    need.accept(hasNamespaces(), AgentInfo.NAMESPACES);
    need.accept(!container.cgroupFiles().isEmpty(), AgentInfo.CGROUP_SETTINGS);
    need.accept(network != null, AgentInfo.NETWORK);
    return features;
  }

  private boolean isFurnished() {
    return !container.equals(ContainerSpec.DEFAULT);
  }

  private boolean hasNamespaces() {
    return container.ownNetwork()
        || container.userNamespace().isPresent()
        || container.timeNamespace().isPresent();
  }

  PrepareRequest toRequest(long realtimeNanos, byte[] entropy) {
    PrepareRequest.Builder request =
        PrepareRequest.newBuilder()
            .setRoot(root())
            .setSharedMemoryBytes(sharedMemoryBytes)
            .setHostname(hostname)
            .setRealtimeNanos(realtimeNanos)
            .setEntropy(ByteString.copyFrom(entropy))
            .setLimits(WorkloadLimits.newBuilder().setPids(pids))
            .addAllSysctls(
                sysctls.entrySet().stream()
                    .map(
                        e -> Sysctl.newBuilder().setName(e.getKey()).setValue(e.getValue()).build())
                    .toList());
    if (isFurnished()) {
      request.setFurnishing(Furnishings.message(container));
    }
    if (hasNamespaces()) {
      request.setNamespaces(Furnishings.namespaces(container));
    }
    container
        .cgroupFiles()
        .forEach(
            (file, value) ->
                request.addCgroupSettings(
                    CgroupSetting.newBuilder().setFile(file).setValue(value)));
    dataDisks.forEach(disk -> request.addDataDisks(message(disk)));
    if (network != null) {
      request.setNetwork(dev.nacelle.proto.agent.v1.Network.newBuilder().setIpv6(network.ipv6()));
    }
    return request.build();
  }

  private static dev.nacelle.proto.agent.v1.DataDisk message(DataDisk disk) {
    dev.nacelle.proto.agent.v1.DataDisk.Builder message =
        dev.nacelle.proto.agent.v1.DataDisk.newBuilder()
            .setDestination(disk.path())
            .setReadOnly(disk.readOnly())
            .setKept(disk.kept());
    if (disk.disk() instanceof GuestDisk.Scsi scsi) {
      message.setScsi(message(scsi));
    } else if (disk.disk() instanceof GuestDisk.VirtioSerial virtio) {
      message.setSerial(virtio.serial());
    }
    return message.build();
  }

  private RootFilesystem root() {
    RootFilesystem.Builder root = RootFilesystem.newBuilder().setWritableBytes(writableBytes);
    // A switch over the types of a sealed interface comes with Java 21.
    if (imageDisk instanceof GuestDisk.Scsi scsi) {
      root.setDiskScsi(message(scsi));
    } else if (imageDisk instanceof GuestDisk.VirtioSerial virtio) {
      root.setDiskSerial(virtio.serial());
    }
    if (scratchDisk instanceof GuestDisk.Scsi scsi) {
      root.setScratchScsi(message(scsi));
    } else if (scratchDisk instanceof GuestDisk.VirtioSerial virtio) {
      root.setScratchSerial(virtio.serial());
    }
    return root.build();
  }

  /** A UUID is written as the kernel writes a GUID: in lower case. */
  private static ScsiDisk message(GuestDisk.Scsi disk) {
    return ScsiDisk.newBuilder()
        .setController(disk.controller().toString())
        .setLun(disk.lun())
        .build();
  }
}
