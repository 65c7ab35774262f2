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
        "a bind mount does not have the options [size=1]",
        () -> Mount.bind("/a", "/b", "ro", "size=1"));
    assertRefused("a mount cannot be changed to [size=1]", () -> Mount.remount("/a", "size=1"));
    assertRefused(
        "nothing can be mounted below /proc, of which each PID namespace has its own: /proc/x",
        () -> Mount.tmpfs("/proc/x", 1));
  }

  @Test
  void optionsThatCannotBeHadAreNamed() {
    for (String option : List.of("iversion", "tmpcopyup", "idmap", "ridmap")) {
      assertRefused(
          "the mount option " + option + " is not supported",
          () -> Mount.filesystem("tmpfs", "/a", option));
    }
    assertRefused("a mount option is empty", () -> Mount.filesystem("tmpfs", "/a", ""));
    assertRefused(
        "the mount option holds a NUL", () -> Mount.filesystem("tmpfs", "/a", "size=1\0"));
    List<String> many = Collections.nCopies(65, "size=1");
    assertRefused(
        "65 parameters of a filesystem are more than 64",
        () -> Mount.filesystem("tmpfs", "tmpfs", "/a", many));
  }
}
