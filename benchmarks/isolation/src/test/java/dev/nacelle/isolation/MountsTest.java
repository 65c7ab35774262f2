// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What instances mount is theirs, and nothing of the host's ends with it. */
class MountsTest {
  @TempDir Path directory;
  private Path host;
  private Path below;

  /** A directory as a host has /dev: shared, with something mounted in it. */
  @BeforeEach
  void mountAsAHostDoes() throws IOException {
    assumeTrue(Host.isRoot(), "it takes root");
    host = Files.createDirectory(directory.resolve("host"));
    try {
      Mounts.mount("tmpfs", "tmpfs", host, 0, "");
    } catch (IOException e) {
      host = null;
      assumeTrue(false, "it takes the leave to mount: " + e.getMessage());
    }
    HostProcess.run(List.of("mount", "--make-shared", host.toString()));
    below = Files.createDirectory(host.resolve("below"));
    HostProcess.run(List.of("mount", "-t", "tmpfs", "tmpfs", below.toString()));
    Files.writeString(below.resolve("file"), "of the host");
  }

  @AfterEach
  void unmount() throws IOException {
    if (host != null) {
      Mounts.unmount(host);
    }
  }

  @Test
  void endOfABindMountEndsNothingOfItsSource() throws IOException {
    Path target = Files.createDirectory(directory.resolve("target"));
    Mounts.mount("bind", host.toString(), target, Mounts.BIND, "");
    assertTrue(Files.exists(target.resolve("below/file")));
    Mounts.unmount(target);
    assertTrue(Files.exists(below.resolve("file")));
  }

  @Test
  void treeInWhichSomethingIsMountedIsNotRemoved() throws IOException {
    Path tree = Files.createDirectories(directory.resolve("tree"));
    Path target = Files.createDirectory(tree.resolve("target"));
    Mounts.mount("bind", host.toString(), target, Mounts.BIND, "");
    assertThrows(IOException.class, () -> InstanceRoot.removeTree(tree));
    assertTrue(Files.exists(below.resolve("file")));
    Mounts.unmount(target);
    InstanceRoot.removeTree(tree);
    assertTrue(Files.notExists(tree));
  }

  @Test
  void linkInAnImageLeadsNoMountOutOfIt() throws IOException {
    Path image = Files.createDirectory(directory.resolve("image"));
    Path elsewhere = Files.createDirectory(directory.resolve("elsewhere"));
    Files.createSymbolicLink(image.resolve("proc"), elsewhere);
    Path work = Files.createDirectory(host.resolve("work"));
    try (InstanceRoot root = new InstanceRoot(image, work.resolve("one"))) {
      assertThrows(IOException.class, () -> root.bind("/proc"));
    }
    assertTrue(Files.notExists(elsewhere.resolve("self")));
  }
}
