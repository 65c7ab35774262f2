// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Device;
import dev.nacelle.container.IdMapping;
import dev.nacelle.container.Mount;
import dev.nacelle.container.MountPropagation;
import dev.nacelle.container.TimeNamespace;
import dev.nacelle.container.UserNamespace;
import dev.nacelle.proto.agent.v1.Furnishing;
import dev.nacelle.proto.agent.v1.MountAttributes;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FurnishingsTest {
  private static dev.nacelle.proto.agent.v1.Mount message(Mount mount) {
    return Furnishings.message(ContainerSpec.builder().mount(mount).build()).getMounts(0);
  }

  private static MountAttributes attributes(long set, long clear) {
    return MountAttributes.newBuilder().setSet(set).setClear(clear).build();
  }

  /** "Linux mount options" of config.md, with MOUNT_ATTR_* of linux/mount.h. */
  @ParameterizedTest
  @CsvSource({
    "ro, 1, 0",
    "rw, 0, 1",
    "nosuid, 2, 0",
    "suid, 0, 2",
    "nodev, 4, 0",
    "noexec, 8, 0",
    "exec, 0, 8",
    "noatime, 16, 112",
    "atime, 0, 112",
    "relatime, 0, 112",
    "norelatime, 0, 112",
    "strictatime, 32, 112",
    "nostrictatime, 0, 112",
    "nodiratime, 128, 0",
    "diratime, 0, 128",
    "nosymfollow, 2097152, 0",
    "symfollow, 0, 2097152"
  })
  void attributesAreOfTheMountOrOfAllBelowIt(String option, long set, long clear) {
    assertEquals(attributes(set, clear), message(Mount.bind("/a", "/b", option)).getAttributes());
    var recursive = message(Mount.bind("/a", "/b", "rbind", "r" + option));
    assertEquals(attributes(set, clear), recursive.getRecursiveAttributes());
    assertFalse(recursive.hasAttributes());
    assertTrue(recursive.getBind().getRecursive());
  }

  @Test
  void theLaterOptionCounts() {
    var mount = message(Mount.bind("/a", "/b", "noatime", "ro", "strictatime", "rw"));
    assertEquals(attributes(32, 113), mount.getAttributes());
  }

  @ParameterizedTest
  @CsvSource({"shared", "slave", "private", "unbindable"})
  void propagationIsOfTheMountOrOfAllBelowIt(String option) {
    String name = option.toUpperCase(java.util.Locale.ROOT);
    assertEquals(name, message(Mount.bind("/a", "/b", option)).getPropagation().name());
    assertEquals(
        name, message(Mount.bind("/a", "/b", "r" + option)).getRecursivePropagation().name());
  }

  @Test
  void whatIsNoOptionOfMountIsTheFilesystems() {
    var mount =
        message(
            Mount.filesystem(
                "tmpfs", "/a", "defaults", "silent", "loud", "noiversion", "size=1k", "sync"));
    assertEquals(List.of("size=1k", "sync"), mount.getFilesystem().getParametersList());
    assertEquals("tmpfs", mount.getFilesystem().getType());
    assertFalse(mount.hasAttributes());
  }

  @Test
  void whatFewFilesystemsHaveIsTold() {
    var tmpfs = message(Mount.filesystem("tmpfs", "/a", "tmpcopyup", "iversion", "size=1k"));
    assertTrue(tmpfs.getFilesystem().getCopyUp() && tmpfs.getFilesystem().getIVersion());
    assertEquals(List.of("size=1k"), tmpfs.getFilesystem().getParametersList());
    var plain = message(Mount.filesystem("tmpfs", "/a", "iversion", "noiversion"));
    assertFalse(plain.getFilesystem().getIVersion());
    var remount = message(Mount.remount("/a", "ro", "size=1k"));
    assertEquals(List.of("size=1k"), remount.getRemount().getParametersList());
    List<IdMapping> uids = List.of(new IdMapping(1, 2, 3));
    List<IdMapping> gids = List.of(new IdMapping(4, 5, 6));
    var numbered = message(Mount.bind("/a", "/b", "rbind").withIdMappings(uids, gids, true));
    assertEquals(2, numbered.getIds().getUidMappings(0).getHostId());
    assertEquals(4, numbered.getIds().getGidMappings(0).getContainerId());
    assertTrue(numbered.getIds().getRecursive());
    assertTrue(numbered.getBind().getRecursive());
    assertFalse(message(Mount.bind("/a", "/b")).hasIds());
  }

  @Test
  void theRestIsTold() {
    Furnishing message =
        Furnishings.message(
            ContainerSpec.builder()
                .readOnlyRoot(true)
                .rootPropagation(MountPropagation.SHARED)
                .mount(Mount.remount("/a", "ro"))
                .device(Device.block("/dev/x", 8, 1).withMode(0640).withOwner(1, 4294967294L))
                .allDevices(true)
                .maskedPaths(List.of())
                .domainname("example.com")
                .imageNames(true)
                .build());
    assertTrue(message.getReadOnlyRoot() && message.getAllDevices() && message.getImageNames());
    assertEquals("SHARED", message.getRootPropagation().name());
    assertTrue(message.getMounts(0).hasRemount());
    assertTrue(message.hasMaskedPaths() && !message.hasReadOnlyPaths());
    assertEquals("example.com", message.getDomainname());
    var device = message.getDevices(0);
    assertEquals("BLOCK", device.getType().name());
    assertEquals(
        List.of(8, 1, 0640, 1, -2),
        List.of(
            device.getMajor(),
            device.getMinor(),
            device.getMode(),
            device.getUid(),
            device.getGid()));
  }

  @Test
  void namespacesAreTold() {
    List<IdMapping> mappings = List.of(new IdMapping(0, 4294967294L, 1));
    var message =
        Furnishings.namespaces(
            ContainerSpec.builder()
                .ownNetwork(true)
                .userNamespace(new UserNamespace(mappings, mappings))
                .timeNamespace(new TimeNamespace(Duration.ofMillis(-1500), Duration.ofSeconds(7)))
                .build());
    assertTrue(message.getNetwork());
    assertEquals(-2, message.getUser().getUidMappings(0).getHostId());
    assertEquals(1, message.getUser().getGidMappings(0).getSize());
    assertEquals(-2, message.getTime().getMonotonic().getSeconds());
    assertEquals(500_000_000, message.getTime().getMonotonic().getNanos());
    assertEquals(7, message.getTime().getBoottime().getSeconds());
  }
}
