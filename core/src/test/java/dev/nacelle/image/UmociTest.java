// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.AwkwardTree;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import dev.nacelle.image.testing.UmociComparison;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Images that umoci makes look as umoci unpacks them. */
class UmociTest {
  @TempDir Path temp;

  private void umoci(String... arguments) {
    Tool.script(temp, "umoci " + String.join(" ", arguments));
  }

  private TreeListing compare(String tag, String... implied) throws IOException {
    return UmociComparison.assertSame(temp.resolve("layout"), tag, implied);
  }

  @Test
  void layersThatChangeWhatIsBelowGiveTheSameTree() throws IOException {
    umoci("init --layout layout");
    umoci("new --image layout:empty");
    umoci("unpack --image layout:empty bundle");
    AwkwardTree.make(temp.resolve("bundle/rootfs"));
    AwkwardTree.addWhatPaxCanHold(temp.resolve("bundle/rootfs"));
    umoci("repack --refresh-bundle --image layout:first bundle");
    assertTrue(compare("first").paths().contains("usr/lib/tool"));

    Tool.script(
        temp.resolve("bundle/rootfs"),
        """
        rm -r usr/lib/sparse deep 'dir with space'; mkdir 'dir with space'; echo new > 'dir with space/x'
        rm bin; mkdir bin; echo file > bin/file
        rm -r etc; ln -s usr etc
        chmod 700 empty; setfattr -x user.empty usr
        echo changed > ztool; ln usr/lib/text usr/second-name
        rm dangling; mkfifo dangling
        """);
    umoci("repack --refresh-bundle --image layout:second bundle");
    TreeListing second = compare("second");
    assertFalse(second.paths().contains("deep"));
    assertEquals(second.get("usr/lib/text").sameAs(), second.get("usr/second-name").sameAs());
  }

  @Test
  void insertedAndOpaqueDirectoriesGiveTheSameTree() throws IOException {
    Tool.script(
        temp,
        """
        mkdir -p one/sub two; echo 1 > one/a; echo 1 > one/sub/b; echo 2 > two/c
        ln two/c two/d; ln -s ../one two/link
        """);
    umoci("init --layout layout");
    umoci("new --image layout:t");
    umoci("insert --image layout:t one /opt/app");
    umoci("insert --image layout:t --opaque two /opt/app");
    umoci("insert --image layout:t one /srv");
    umoci("insert --image layout:t --whiteout /srv/sub");

    TreeListing tree = compare("t", ".", "opt");
    assertTrue(tree.paths().containsAll(List.of("opt/app/c", "opt/app/d", "srv/a")));
    assertFalse(tree.paths().contains("opt/app/a"));
    assertFalse(tree.paths().contains("srv/sub"));
  }

  @Test
  void filesOfDebianPackagesGiveTheSameTree() throws IOException {
    // On a merged /usr the packages' /bin/... are behind the link /bin.
    Tool.script(
        temp,
        """
        { echo /usr/lib64; dpkg -L libc6 coreutils passwd perl-base bash tzdata e2fsprogs; } |
          sed -n '/^\\/[.]$/d; s,^/,,p' | sort -u | while read -r f; do [[ ! -e /$f ]] || echo "$f"; done |
          tar -C / --no-recursion -T - -c --numeric-owner --format=pax > layer.tar
        umoci init --layout layout
        umoci new --image layout:debian
        umoci raw add-layer --image layout:debian layer.tar
        """);

    TreeListing tree = compare("debian", ".");
    assertTrue(tree.paths().size() > 2000, "only " + tree.paths().size());
    assertEquals("4755", tree.get("usr/bin/passwd").mode());
  }
}
