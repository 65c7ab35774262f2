// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.SpecContract;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class ContainerSpecTest {
  private static final Mount A = Mount.tmpfs("/a", 4096);
  private static final Mount B = Mount.bind("/a", "/b");
  private static final Device ONE = Device.character("/dev/fuse", 10, 229);
  private static final Device OTHER = Device.fifo("/dev/pipe");

  private static UserNamespace users(long size) {
    List<IdMapping> mappings = List.of(new IdMapping(0, 1000, size));
    return new UserNamespace(mappings, mappings);
  }

  private static TimeNamespace clocks(long seconds) {
    return new TimeNamespace(Duration.ofSeconds(seconds), Duration.ZERO);
  }

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(ContainerSpec.class, ContainerSpec::builder)
        .with("mount", 0, A, B)
        .with("mounts", 0, List.of(A, B), List.of(B))
        .with("device", 0, ONE, OTHER)
        .with("devices", 0, List.of(ONE), List.of(OTHER))
        .with("maskedPaths", 0, List.of(), List.of("/a"))
        .with("readOnlyPaths", 0, List.of(), List.of("/a"))
        .with("userNamespace", 0, users(7), users(8))
        .with("timeNamespace", 0, clocks(7), clocks(8))
        .with("cgroupFile", 0, "cpu.max", "io.max")
        .check();
  }

  @Test
  void theOrderOfMountsIsKept() {
    assertEquals(List.of(B, A), ContainerSpec.builder().mount(B).mount(A).build().mounts());
    assertEquals(List.of(A), ContainerSpec.builder().mount(B).mounts(List.of(A)).build().mounts());
  }

  @Test
  void boundsAreThoseOfTheAgent() {
    ContainerSpec.builder().mounts(Collections.nCopies(256, A)).build();
    assertRefused(
        "a container may have 256 mounts, not 257",
        () -> ContainerSpec.builder().mounts(Collections.nCopies(257, A)).build());
    assertRefused(
        "a container may have 128 devices, not 129",
        () -> ContainerSpec.builder().devices(Collections.nCopies(129, ONE)).build());
    assertRefused(
        "a container may have 256 masked paths, not 257",
        () -> ContainerSpec.builder().maskedPaths(Collections.nCopies(257, "/a")).build());
  }

  @Test
  void whatIsWrongIsNamed() {
    ContainerSpec.Builder spec = ContainerSpec.builder();
    assertRefused(
        "the masked path is not an absolute path without \"..\": 'proc'",
        () -> spec.maskedPaths(List.of("proc")));
    assertRefused(
        "the read-only path is not an absolute path without \"..\": '/a/../b'",
        () -> spec.readOnlyPaths(List.of("/a/../b")));
    assertRefused(
        "a domain name is 1 to 64 characters of printable ASCII, not ''",
        () -> spec.domainname(""));
    assertRefused("there is no device 4096:0", () -> Device.block("/dev/x", 4096, 0));
    assertRefused("there is no device 1:1048576", () -> Device.block("/dev/x", 1, 1 << 20));
    assertRefused("not a file's mode: 010000", () -> ONE.withMode(010000));
    assertRefused(
        "no user or group has the number 4294967295", () -> ONE.withOwner(0, 4294967295L));
  }

  @Test
  void mappingsAreOfNumbersThatThereAre() {
    new IdMapping(0, 0, 4294967295L);
    assertRefused("a mapping has at least one number, not 0", () -> new IdMapping(0, 0, 0));
    assertRefused(
        "no user or group has the number 4294967295", () -> new IdMapping(1, 0, 4294967295L));
    assertRefused("no user or group has the number -1", () -> new IdMapping(0, -1, 1));
    List<IdMapping> one = List.of(new IdMapping(0, 0, 1));
    assertRefused(
        "there are 1 to 340 mappings of groups, not 0", () -> new UserNamespace(one, List.of()));
    assertRefused(
        "there are 1 to 340 mappings of users, not 341",
        () -> new UserNamespace(Collections.nCopies(341, one.get(0)), one));
  }

  @Test
  void filesOfTheControlGroupAreControllers() {
    ContainerSpec.Builder spec = ContainerSpec.builder();
    spec.cgroupFile("hugetlb.2MB.max", "1").cgroupFile("cgroup.max.depth", "1");
    for (String file : List.of("", "cpu", ".max", "cpu.", "../cpu.max", "cpu.max/x")) {
      assertRefused(
          "'" + file + "' is no file of a control group", () -> spec.cgroupFile(file, "1"));
    }
    assertRefused(
        "the value of cpu.max has 4097 bytes, more than 4096",
        () -> spec.cgroupFile("cpu.max", "1".repeat(4097)));
    for (int i = 0; i < 63; i++) {
      spec.cgroupFile("misc.max" + i, "1");
    }
    assertRefused(
        "a container may have 64 files of its control group written, not 65", spec::build);
  }

  @Test
  void noMountOpensDeviceFilesUnlessAllAreOpen() {
    ContainerSpec.Builder spec = ContainerSpec.builder().mount(Mount.bind("/a", "/b", "dev"));
    assertRefused(
        "the mount none /a on /b [bind, dev] would let any device file be opened, which allDevices"
            + " does",
        spec::build);
    spec.allDevices(true).build();
  }
}
