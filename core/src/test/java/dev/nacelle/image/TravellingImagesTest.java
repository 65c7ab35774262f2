// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.AwkwardTree;
import dev.nacelle.image.testing.RegistryServer;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import dev.nacelle.image.testing.UmociComparison;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Images that went through a registry with a password and TLS look as umoci unpacks them here. */
class TravellingImagesTest {
  @TempDir Path temp;

  private TreeListing compare(String tag) throws IOException {
    Path layout = temp.resolve("layout");
    try (RegistryServer registry = RegistryServer.secure(temp.resolve("registry"))) {
      registry.push("oci:" + layout + ":" + tag, "private/" + tag + ":1");
      RegistryOptions options =
          RegistryOptions.builder()
              .credentialFiles()
              .certificates(registry.host(), registry.certificate())
              .credentials(
                  registry.host(),
                  RegistryCredentials.password(RegistryServer.USER, RegistryServer.PASSWORD))
              .build();
      return UmociComparison.assertSame(
          layout,
          tag,
          store ->
              new ImageStore(store, ImageLimits.DEFAULT, options)
                  .resolve(ImageRef.parse(registry.host() + "/private/" + tag + ":1")));
    }
  }

  @Test
  void anImageOfBuildah() throws IOException {
    Tool.script(
        temp,
        """
        buildah() { command buildah --root "$PWD/storage" --runroot "$PWD/run" "$@"; }
        trap 'buildah rm --all; rm -rf storage run' EXIT
        mkdir -p one/dir/sub two; echo 1 > one/dir/sub/file; echo 1 > one/gone; ln one/gone one/linked
        echo 2 > two/file; chmod 4755 two/file
        c=$(buildah from scratch)
        buildah copy --quiet "$c" one /
        buildah commit --quiet --format oci "$c" base
        d=$(buildah from base)
        mounted=$(buildah mount "$d"); rm "$mounted/gone"; rm -r "$mounted/dir/sub"; buildah umount "$d"
        buildah copy --quiet "$d" two /dir
        buildah commit --quiet --format oci "$d" oci:layout:buildah
        """);

    TreeListing tree = compare("buildah");
    assertTrue(tree.paths().contains("dir/file") && !tree.paths().contains("gone"));
  }

  @Test
  void anImageWithEverythingInManyLayers() throws IOException {
    Tool.script(
        temp,
        "umoci init --layout layout; umoci new --image layout:t; umoci unpack --image layout:t bundle");
    Path rootfs = temp.resolve("bundle/rootfs");
    AwkwardTree.make(rootfs);
    AwkwardTree.addWhatPaxCanHold(rootfs);
    for (String change :
        new String[] {
          "true",
          "rm -r usr/lib/sparse deep; mkdir new; echo new > new/x; chmod 700 empty",
          "rm bin; mkdir bin; echo file > bin/file; rm -r etc; ln -s usr etc",
          "echo changed > ztool; ln usr/lib/text usr/second; rm dangling; mkfifo dangling"
        }) {
      Tool.script(rootfs, change);
      Tool.script(temp, "umoci repack --refresh-bundle --image layout:t bundle");
    }

    assertTrue(compare("t").paths().contains("bin/file"));
  }
}
