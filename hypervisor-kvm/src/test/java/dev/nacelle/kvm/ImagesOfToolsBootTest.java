// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.image.testing.AwkwardTree;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.kernel.TestKernels;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Images that others' tools made of a tree with everything that a filesystem can hold: they boot,
 * and a guest's kernel reads in them what was put there.
 */
@Tag("boot")
@Timeout(600)
class ImagesOfToolsBootTest {
  private static final String CHECK =
      """
      sha256sum /usr/lib/random /usr/lib/text /usr/lib/sparse /usr/lib/hole
      stat -c '%n %f %u %g %s %Y %h' /usr/bin/tool /usr/lib/tool /ztool /etc/motd /usr/lib/text
      for link in /bin /usr/lib/bin-link /dangling; do readlink $link; done
      find /deep -name file -exec cat {} ';'
      """;

  @TempDir Path temp;

  @BeforeEach
  void makeTree() {
    Path tree = temp.resolve("tree");
    Tool.run(temp, "mkdir", "tree");
    AwkwardTree.make(tree);
    Tool.script(
        tree,
        "cp /bin/busybox usr/bin/; for a in sh sha256sum stat readlink find cat; do ln -s busybox usr/bin/$a; done");
  }

  @Test
  void imageOfBuildahRuns() {
    Tool.script(
        temp,
        """
        buildah() { command buildah --storage-driver vfs --root "$PWD/storage" --runroot "$PWD/run" "$@"; }
        trap 'buildah rm --all; rm -rf storage run' EXIT
        c=$(buildah from scratch)
        mounted=$(buildah mount "$c")
        cp -a tree/. "$mounted"
        buildah config --entrypoint '["sh", "-euc"]' --cmd '["exit 9"]' --workingdir /srv/new "$c"
        buildah commit --quiet --format oci "$c" oci:layout:latest
        """);
    assertRuns();
  }

  /**
   * On a tmpfs: umoci tells hard links by the inode's number alone, and an overlay, such as the
   * lab's root, has directories with the numbers of files.
   */
  @Test
  void imageOfUmociRuns() {
    Tool.script(
        temp,
        """
        umoci init --layout layout
        umoci new --image layout:latest
        work=$(mktemp -d /dev/shm/umoci.XXXXXX)
        trap 'rm -rf "$work"' EXIT
        umoci unpack --image layout:latest "$work/bundle"
        cp -a tree/. "$work/bundle/rootfs"
        umoci repack --image layout:latest "$work/bundle"
        umoci config --image layout:latest --config.entrypoint sh --config.entrypoint=-euc \\
          --config.cmd 'exit 9' --config.workingdir /srv/new
        """);
    assertRuns();
  }

  private void assertRuns() {
    String script = CHECK + "pwd";
    // The same program on the tree itself: in a chroot, where paths are the same.
    String expected =
        Tool.run(temp, "chroot", "tree", "/bin/busybox", "sh", "-euc", CHECK) + "/srv/new\n";
    SandboxSpec spec =
        SandboxSpec.builder()
            .image("oci:" + temp.resolve("layout"))
            .kernel("debian:6.12")
            .memory(DataSize.mebibytes(192))
            .timeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      ExecResult result = sandbox.exec(ProcessSpec.entrypoint(script).build());
      assertEquals("", result.stderr().text());
      assertEquals(expected, result.stdout().text());
      assertEquals(0, result.exitCode());
      assertEquals(9, sandbox.exec(ProcessSpec.entrypoint().build()).exitCode());
    }
  }
}
