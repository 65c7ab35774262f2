// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Device;
import dev.nacelle.container.IdMapping;
import dev.nacelle.container.Mount;
import dev.nacelle.internal.check.MountOptions;
import dev.nacelle.proto.agent.v1.BindMount;
import dev.nacelle.proto.agent.v1.Filesystem;
import dev.nacelle.proto.agent.v1.Furnishing;
import dev.nacelle.proto.agent.v1.MountAttributes;
import dev.nacelle.proto.agent.v1.MountIds;
import dev.nacelle.proto.agent.v1.MountPropagation;
import dev.nacelle.proto.agent.v1.Namespaces;
import dev.nacelle.proto.agent.v1.Paths;
import dev.nacelle.proto.agent.v1.Remount;
import dev.nacelle.proto.agent.v1.TimeNamespace;
import dev.nacelle.proto.agent.v1.TimeOffset;
import dev.nacelle.proto.agent.v1.UserNamespace;
import java.time.Duration;
import java.util.List;

/** What a container is furnished with, as the agent is told. */
final class Furnishings {
  private Furnishings() {}

  static Furnishing message(ContainerSpec container) {
    Furnishing.Builder message =
        Furnishing.newBuilder()
            .addAllMounts(container.mounts().stream().map(Furnishings::message).toList())
            .addAllDevices(container.devices().stream().map(Furnishings::message).toList())
            .setAllDevices(container.allDevices())
            .setReadOnlyRoot(container.readOnlyRoot())
            .setDomainname(container.domainname().orElse(""))
            .setImageNames(container.imageNames());
    container
        .rootPropagation()
        .map(propagation -> MountPropagation.valueOf(propagation.name()))
        .ifPresent(message::setRootPropagation);
    container.maskedPaths().map(Furnishings::paths).ifPresent(message::setMaskedPaths);
    container.readOnlyPaths().map(Furnishings::paths).ifPresent(message::setReadOnlyPaths);
    return message.build();
  }

  /** Whether a mount has what the first agents that furnished roots did not know of. */
  static boolean wantsMountOptions(Mount mount) {
    MountOptions options = MountOptions.parse(mount.options());
    return options.isForNewFilesystem()
        || options.idMap()
        || options.remount() && !options.parameters().isEmpty();
  }

  static Namespaces namespaces(ContainerSpec container) {
    Namespaces.Builder message = Namespaces.newBuilder().setNetwork(container.ownNetwork());
    container
        .userNamespace()
        .ifPresent(
            users ->
                message.setUser(
                    UserNamespace.newBuilder()
                        .addAllUidMappings(mappings(users.uids()))
                        .addAllGidMappings(mappings(users.gids()))));
    container
        .timeNamespace()
        .ifPresent(
            clocks ->
                message.setTime(
                    TimeNamespace.newBuilder()
                        .setMonotonic(offset(clocks.monotonic()))
                        .setBoottime(offset(clocks.boottime()))));
    return message.build();
  }

  private static List<dev.nacelle.proto.agent.v1.IdMapping> mappings(List<IdMapping> mappings) {
    return mappings.stream()
        .map(
            mapping ->
                dev.nacelle.proto.agent.v1.IdMapping.newBuilder()
                    .setContainerId((int) mapping.containerId())
                    .setHostId((int) mapping.hostId())
                    .setSize((int) mapping.size())
                    .build())
        .toList();
  }

  private static TimeOffset offset(Duration offset) {
    return TimeOffset.newBuilder()
        .setSeconds(offset.getSeconds())
        .setNanos(offset.getNano())
        .build();
  }

  private static Paths paths(List<String> paths) {
    return Paths.newBuilder().addAllPaths(paths).build();
  }

  private static dev.nacelle.proto.agent.v1.Mount message(Mount mount) {
    MountOptions options = MountOptions.parse(mount.options());
    dev.nacelle.proto.agent.v1.Mount.Builder message =
        dev.nacelle.proto.agent.v1.Mount.newBuilder()
            .setDestination(mount.destination())
            .setPropagation(propagation(options.propagation()))
            .setRecursivePropagation(propagation(options.recursivePropagation()));
    if (!options.attributes().equals(MountOptions.Attributes.NONE)) {
      message.setAttributes(attributes(options.attributes()));
    }
    if (!options.recursive().equals(MountOptions.Attributes.NONE)) {
      message.setRecursiveAttributes(attributes(options.recursive()));
    }
    if (options.idMap()) {
      message.setIds(
          MountIds.newBuilder()
              .addAllUidMappings(mappings(mount.uidMappings()))
              .addAllGidMappings(mappings(mount.gidMappings()))
              .setRecursive(options.recursiveIdMap()));
    }
    if (options.remount()) {
      message.setRemount(Remount.newBuilder().addAllParameters(options.parameters()));
    } else if (options.bind()) {
      message.setBind(
          BindMount.newBuilder().setSource(mount.source()).setRecursive(options.recursiveBind()));
    } else {
      message.setFilesystem(
          Filesystem.newBuilder()
              .setType(mount.type())
              .setSource(mount.source())
              .setIVersion(options.iVersion())
              .setCopyUp(options.copyUp())
              .addAllParameters(options.parameters()));
    }
    return message.build();
  }

  private static MountAttributes attributes(MountOptions.Attributes attributes) {
    return MountAttributes.newBuilder()
        .setSet(attributes.set())
        .setClear(attributes.clear())
        .build();
  }

  private static MountPropagation propagation(String option) {
    return switch (option) {
      case "shared" -> MountPropagation.SHARED;
      case "slave" -> MountPropagation.SLAVE;
      case "private" -> MountPropagation.PRIVATE;
      case "unbindable" -> MountPropagation.UNBINDABLE;
      default -> MountPropagation.MOUNT_PROPAGATION_UNSPECIFIED;
    };
  }

  private static dev.nacelle.proto.agent.v1.Device message(Device device) {
    return dev.nacelle.proto.agent.v1.Device.newBuilder()
        .setPath(device.path())
        .setType(dev.nacelle.proto.agent.v1.Device.Type.valueOf(device.type().name()))
        .setMajor(device.major())
        .setMinor(device.minor())
        .setMode(device.mode())
        .setUid((int) device.uid())
        .setGid((int) device.gid())
        .build();
  }
}
