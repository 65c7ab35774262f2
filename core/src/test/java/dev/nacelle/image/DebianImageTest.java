// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.Tool;
import dev.nacelle.image.testing.TreeListing;
import dev.nacelle.image.testing.UmociComparison;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The Debian with Python that the samples run, and a layer of changes over it. */
class DebianImageTest {
  @TempDir Path temp;

  @Test
  void aDebianAndALayerOverItLookAsUmociUnpacksThem() throws IOException {
    String cache =
        Objects.requireNonNullElse(
            System.getenv("XDG_CACHE_HOME"), System.getProperty("user.home") + "/.cache");
    Path debian = Path.of(cache, "nacelle/samples/debian-python");
    Tool.run(
        temp, Path.of("../samples/debian-python-image").toRealPath().toString(), debian.toString());
    Tool.script(
        temp,
        """
        skopeo copy --quiet "oci:%s:latest" oci:layout:latest
        umoci unpack --image layout:latest bundle
        cd bundle/rootfs
        rm -r usr/share/doc var/lib/apt; mkdir -p var/lib/apt/lists; rm usr/share/zoneinfo/UTC
        echo changed > etc/issue; chmod 700 srv; ln etc/issue etc/issue.link; mv opt opt.d
        find usr/lib/python3* -name '*.pyc' -delete; ln -sf usr/share usr/games
        cd ../..
        umoci repack --image layout:changed bundle
        rm -rf bundle
        """
            .formatted(debian));

    Path layout = temp.resolve("layout");
    TreeListing first = UmociComparison.assertSame(layout, "latest");
    assertTrue(first.paths().size() >= 10_000, "only " + first.paths().size());
    assertEquals("4755", first.get("usr/bin/passwd").mode());
    TreeListing second = UmociComparison.assertSame(layout, "changed");
    assertFalse(second.paths().contains("usr/share/doc"));
    assertEquals("etc/issue", second.get("etc/issue.link").sameAs());
  }
}
