// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class MountTest {
  @Test
  void aMountIsWhatItsPartsAre() {
    Mount tmpfs = Mount.tmpfs("/data", 1 << 20);
    Mount same =
        Mount.filesystem("tmpfs", "tmpfs", "/data", List.of("nosuid", "nodev", "size=1048576"));
    assertEquals(same, tmpfs);
    assertEquals(same.hashCode(), tmpfs.hashCode());
    assertNotEquals(tmpfs, Mount.tmpfs("/data", 1 << 21));
    assertEquals(List.of("bind", "ro"), Mount.bind("/a", "/b", "ro").options());
    assertEquals(List.of("rbind", "ro"), Mount.bind("/a", "/b", "rbind", "ro").options());
    assertEquals(List.of("remount", "ro"), Mount.remount("/b", "ro").options());
  }

  @Test
  void ownersAreNumberedByMappings() {
    List<IdMapping> uids = List.of(new IdMapping(0, 1000, 100));
    List<IdMapping> gids = List.of(new IdMapping(0, 2000, 100));
    Mount mount = Mount.bind("/a", "/b", "ro").withIdMappings(uids, gids, true);
    assertEquals(List.of("bind", "ro", "ridmap"), mount.options());
    assertEquals(uids, mount.uidMappings());
    assertEquals(gids, mount.gidMappings());
    assertEquals(List.of("bind", "ro", "idmap"), mount.withIdMappings(uids, gids, false).options());
    assertNotEquals(mount, mount.withIdMappings(gids, gids, true));
    assertEquals(List.of(), Mount.bind("/a", "/b").uidMappings());
    assertRefused(
        "what is mounted on /a cannot be given mappings any more",
        () -> Mount.remount("/a", "ro").withIdMappings(uids, gids, false));
    assertRefused(
        "there are 1 to 340 mappings of groups, not 0",
        () -> Mount.tmpfs("/a", 1).withIdMappings(uids, List.of(), false));
  }

  @Test
  void whatIsNoMountIsRefused() {
    assertRefused(
        "the mount's destination is not an absolute path without \"..\": 'data'",
        () -> Mount.tmpfs("data", 1));
    assertRefused(
        "the mount's source is not an absolute path without \"..\": '../etc'",
        () -> Mount.bind("../etc", "/b"));
    assertRefused("a tmpfs has at least 1 byte, not 0", () -> Mount.tmpfs("/a", 0));
    assertRefused("'tmp,fs' is no filesystem's name", () -> Mount.filesystem("tmp,fs", "/a"));
    assertRefused(
        "bind and remount are not for a new tmpfs", () -> Mount.filesystem("tmpfs", "/a", "bind"));
    assertRefused(
        "a bind mount has no options of a filesystem's: ro, size=1",
        () -> Mount.bind("/a", "/b", "ro", "size=1"));
    assertRefused(
        "a bind mount has no options of a filesystem's: tmpcopyup",
        () -> Mount.bind("/a", "/b", "tmpcopyup"));
    assertRefused(
        "what is mounted cannot be changed so: iversion", () -> Mount.remount("/a", "iversion"));
    assertRefused("what is mounted cannot be changed so: bind", () -> Mount.remount("/a", "bind"));
    assertRefused(
        "nothing can be mounted below /proc, of which each PID namespace has its own: /proc/x",
        () -> Mount.tmpfs("/proc/x", 1));
  }

  @Test
  void optionsThatCannotBeHadAreNamed() {
    for (String option : List.of("idmap", "ridmap")) {
      assertRefused(
          "the mount options idmap and ridmap want mappings, with which withIdMappings sets them",
          () -> Mount.filesystem("tmpfs", "/a", option));
    }
    assertRefused(
        "tmpcopyup is for a tmpfs, and not on /dev; here it is a proc on /proc",
        () -> Mount.filesystem("proc", "/proc", "tmpcopyup"));
    assertRefused(
        "tmpcopyup is for a tmpfs, and not on /dev; here it is a tmpfs on /dev",
        () -> Mount.filesystem("tmpfs", "/dev", "tmpcopyup"));
    assertRefused("a mount option is empty", () -> Mount.filesystem("tmpfs", "/a", ""));
    assertRefused(
        "the mount option holds a NUL", () -> Mount.filesystem("tmpfs", "/a", "size=1\0"));
    List<String> many = Collections.nCopies(65, "size=1");
    assertRefused(
        "65 parameters of a filesystem are more than 64",
        () -> Mount.filesystem("tmpfs", "tmpfs", "/a", many));
  }
}
