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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Images that buildah commits, layer over layer, look as umoci unpacks them. */
class BuildahTest {
  /** What each script begins with; storage of its own, so that nothing of the user's is touched. */
  private static final String SETUP =
      """
      buildah() { command buildah --root "$PWD/storage" --runroot "$PWD/run" "$@"; }
      edit() { mounted=$(buildah mount "$1"); (cd "$mounted"; eval "$2"); buildah umount "$1"; }
      commit() { buildah commit --quiet --format oci "$1" "oci:layout:$2"; }
      """;

  @TempDir Path temp;

  private void script(String script) {
    Tool.script(temp, SETUP + script);
  }

  @AfterEach
  void removeContainers() {
    script("buildah rm --all; rm -rf storage run");
  }

  private TreeListing compare(String tag) throws IOException {
    return UmociComparison.assertSame(temp.resolve("layout"), tag);
  }

  @Test
  void layersWithWhiteoutsOpaqueDirectoriesAndReplacedTypesGiveTheSameTree() throws IOException {
    script(
        """
        c=$(buildah from scratch)
        edit "$c" '
          mkdir -p a/sub/deep gone opaque/old type
          echo 1 > a/f; echo 1 > a/sub/deep/f; ln a/f a/linked; echo 1 > gone/f; echo 1 > opaque/old/f
          echo 1 > type/file; mkdir type/dir; echo 1 > type/dir/f; ln -s dir type/link; mkfifo type/fifo
          ln -s a/sub parent; chmod 2775 a/sub; chmod 1777 opaque
          setfattr -n user.layer -v one a/f; mknod type/null c 1 3'
        commit "$c" one
        edit "$c" '
          rm -r gone opaque; mkdir opaque; echo 2 > opaque/new
          rm type/file; mkdir type/file; echo 2 > type/file/f
          rm -r type/dir; echo 2 > type/dir
          rm type/link; mkdir type/link; echo 2 > type/link/f
          rm type/fifo; ln -s null type/fifo
          echo 2 > parent/deep/g; rm a/linked; ln a/f a/again; setfattr -n user.layer -v two a/f'
        commit "$c" two
        edit "$c" '
          rm a/f; rm -r type/file type/link; ln -s /a type/link; echo 3 > gone; touch -d @12345 a'
        commit "$c" three
        """);

    assertTrue(compare("one").paths().contains("gone/f"));
    TreeListing two = compare("two");
    assertFalse(two.paths().contains("opaque/old"));
    assertTrue(two.paths().contains("type/link/f"));
    assertEquals("f", two.get("type/dir").type());
    assertEquals(two.get("a/f").sameAs(), two.get("a/again").sameAs());
    TreeListing three = compare("three");
    assertEquals("l", three.get("type/link").type());
    assertEquals("f", three.get("gone").type());
    assertEquals("12345.0000000000", three.get("a").modified());
  }

  @Test
  void everythingThatAFileSystemHoldsSurvivesACopy() throws IOException {
    Path tree = temp.resolve("tree");
    Tool.run(temp, "mkdir", "tree");
    AwkwardTree.make(tree);
    AwkwardTree.addWhatPaxCanHold(tree);
    // buildah packs an attribute without a value, but umoci's reader takes that for "not given".
    script(
        """
        setfattr -x user.empty tree/usr
        c=$(buildah from scratch)
        edit "$c" "cp -a '$PWD/tree/.' ."
        commit "$c" first
        buildah copy --quiet "$c" tree/usr /copied
        buildah config --workingdir /copied/lib "$c"
        commit "$c" second
        """);

    TreeListing first = compare("first");
    assertEquals(TreeListing.of(tree).paths(), first.paths());
    assertTrue(compare("second").paths().contains("copied/lib/random"));
  }
}
