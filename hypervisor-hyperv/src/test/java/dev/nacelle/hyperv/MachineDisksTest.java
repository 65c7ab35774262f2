// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.StandIn;
import dev.nacelle.spi.VmSpec.Disk;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MachineDisksTest {
  private static final String OWNER = Owner.ofThisProcess().toString();

  @TempDir Path temp;

  private Disk rootfs;
  private Disk scratch;

  @BeforeEach
  void makeImages() throws IOException {
    StandIn.reset();
    rootfs = Disk.of("rootfs", Files.write(temp.resolve("a.ext4"), new byte[8192]), true);
    scratch = Disk.of("scratch", Files.write(temp.resolve("b.ext4"), new byte[4096]), false);
  }

  @AfterEach
  void nothingIsLeft() throws IOException {
    StandIn.requireNothingLeft();
    assertEquals(Set.of("a.ext4", "b.ext4"), names());
  }

  private Set<String> names() throws IOException {
    try (Stream<Path> files = Files.list(temp)) {
      return files.map(file -> file.getFileName().toString()).collect(Collectors.toSet());
    }
  }

  private static void assertGrants(int granted, int revoked) {
    assertEquals(granted, StandIn.calls("HcsGrantVmAccess"));
    assertEquals(revoked, StandIn.calls("HcsRevokeVmAccess"));
  }

  @Test
  void imagesAreVhdsThatTheMachineMayHave() throws Exception {
    try (MachineDisks disks = MachineDisks.prepare(OWNER, "m1", List.of(rootfs, scratch))) {
      Path first = temp.resolve(OWNER + ".m1.0.vhd");
      Path second = temp.resolve(OWNER + ".m1.1.vhd");
      assertEquals(
          "[rootfs (" + first + ", read-only), scratch (" + second + ")]",
          disks.disks().toString());
      assertTrue(Files.isSameFile(rootfs.image(), first));
      assertEquals(8192 + FixedVhd.FOOTER, Files.size(first));
      assertEquals(4096 + FixedVhd.FOOTER, Files.size(second));
      assertEquals(second.toString(), StandIn.received("HcsGrantVmAccess"));
      assertEquals("m1", StandIn.received("id"));
      assertGrants(2, 0);
      disks.close();
      assertGrants(2, 2);
    }
    assertGrants(2, 2);
  }

  @Test
  void machinesShareAnImageAndLeaveItAsItWas() throws Exception {
    for (int i = 0; i < 3; i++) {
      try (MachineDisks one = MachineDisks.prepare(OWNER, "m1", List.of(rootfs));
          MachineDisks two = MachineDisks.prepare(OWNER, "m2", List.of(rootfs))) {
        assertTrue(Files.isSameFile(one.disks().get(0).image(), two.disks().get(0).image()));
      }
    }
    assertGrants(6, 6);
    assertEquals(8192 + FixedVhd.FOOTER, Files.size(rootfs.image()));
  }

  @Test
  void whatCannotBeGrantedIsLeftToTheStart() throws Exception {
    StandIn.failCall("HcsGrantVmAccess", HResult.E_ACCESSDENIED);
    try (MachineDisks disks = MachineDisks.prepare(OWNER, "m1", List.of(rootfs, scratch))) {
      assertEquals(2, disks.disks().size());
    }
    assertGrants(2, 0);
  }

  @Test
  void whatCannotBeRevokedDoesNotKeepTheRest() throws Exception {
    MachineDisks disks = MachineDisks.prepare(OWNER, "m1", List.of(rootfs, scratch));
    StandIn.failCall("HcsRevokeVmAccess", HResult.ERROR_FILE_NOT_FOUND);
    disks.close();
    assertGrants(2, 2);
  }

  @Test
  void failureTakesBackWhatWasMade() throws Exception {
    Disk absent = Disk.of("x", temp.resolve("x.ext4"), true);
    assertThrows(
        NoSuchFileException.class,
        () -> MachineDisks.prepare(OWNER, "m1", List.of(rootfs, absent)));
    assertGrants(1, 1);

    Files.write(scratch.image(), new byte[100]);
    assertThrows(
        HypervisorException.class,
        () -> MachineDisks.prepare(OWNER, "m1", List.of(rootfs, scratch)));
    assertGrants(2, 2);

    try (MachineDisks disks = MachineDisks.prepare(OWNER, "m1", List.of(rootfs))) {
      assertThrows(
          FileAlreadyExistsException.class,
          () -> MachineDisks.prepare(OWNER, "m1", List.of(rootfs)));
      assertTrue(Files.exists(disks.disks().get(0).image()), "it is another's");
    }
    assertFalse(names().contains(OWNER + ".m1.0.vhd"));
  }

  @Test
  void whatAKilledProcessHasLeftIsTakenBack() throws Exception {
    Owner dead = new Owner(Integer.MAX_VALUE, 1); // more than a process's number can be
    MachineDisks its = MachineDisks.prepare(dead.toString(), "m1", List.of(rootfs));
    Path left = its.disks().get(0).image();
    Path living = temp.resolve(OWNER + ".m2.0.vhd");
    Path other = temp.resolve("nacelle-of-somebody.vhd");
    Files.createLink(living, rootfs.image());
    Files.createLink(other, rootfs.image());

    MachineDisks.prepare(OWNER, "m3", List.of(rootfs)).close();

    assertFalse(Files.exists(left));
    assertGrants(2, 2);
    assertTrue(Files.deleteIfExists(living));
    assertTrue(Files.deleteIfExists(other));
  }

  @Test
  void growingDiskIsTakenAsItIs() throws Exception {
    Path file = Files.createFile(temp.resolve("c.vhdx"));
    DynamicVhdx.create(file, 16 << 20).close();
    byte[] before = Files.readAllBytes(file);
    Disk disk = Disk.of("scratch", file, false);
    try (MachineDisks disks = MachineDisks.prepare(OWNER, "m1", List.of(rootfs, disk))) {
      assertEquals(file, disks.disks().get(1).image());
      assertEquals(file.toString(), StandIn.received("HcsGrantVmAccess"));
      assertGrants(2, 0);
    }
    assertGrants(2, 2);
    assertArrayEquals(before, Files.readAllBytes(file), "it is its maker's to remove");
    Files.delete(file);
    assertThrows(
        NoSuchFileException.class, () -> MachineDisks.prepare(OWNER, "m1", List.of(rootfs, disk)));
    assertGrants(3, 3);
  }
}
