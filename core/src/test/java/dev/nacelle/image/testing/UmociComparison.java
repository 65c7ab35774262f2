// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.ImageStore;
import dev.nacelle.image.ResolvedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Function;

/**
 * Unpacks an image twice, with umoci and with an ImageStore, and holds one tree against the other:
 * type, mode, owner, size, mtime, content, extended attributes, device numbers, and which paths are
 * one inode. The filesystem must be clean, too. Takes root.
 */
public final class UmociComparison {
  private UmociComparison() {}

  /**
   * Fails where anything differs.
   *
   * @param layout an OCI layout; umoci unpacks beside it
   * @param implied directories that no layer names: umoci gives them the time of unpacking, which
   *     cannot be the same twice, the store 1970
   * @return the tree
   */
  public static TreeListing assertSame(Path layout, String tag, String... implied)
      throws IOException {
    return assertSame(
        layout,
        tag,
        store -> new ImageStore(store).resolve(ImageRef.parse("oci:" + layout + ":" + tag)),
        implied);
  }

  /**
   * The same for an image that came to the store by another way.
   *
   * @param resolve gives the image, by way of a store in a directory
   */
  public static TreeListing assertSame(
      Path layout, String tag, Function<Path, ResolvedImage> resolve, String... implied)
      throws IOException {
    Path directory = Files.createTempDirectory(layout.toAbsolutePath().getParent(), "unpacked");
    try {
      Path bundle = directory.resolve("bundle");
      Tool.run(directory, "umoci", "unpack", "--image", layout + ":" + tag, bundle.toString());
      Path rootfs = bundle.resolve("rootfs");
      for (String path : implied) {
        Tool.run(rootfs, "touch", "-d", "@0", path);
      }
      Path image = resolve.apply(directory.resolve("store")).filesystem();
      MountedImage.check(image);
      TreeListing expected = TreeListing.of(rootfs);
      try (MountedImage mounted = MountedImage.mount(image, "ro")) {
        assertEquals("", expected.differences(TreeListing.of(mounted.root())));
      }
      return expected;
    } finally {
      // Java's own walk knows no names that are not UTF-8.
      Tool.run(layout.toAbsolutePath().getParent(), "rm", "-rf", directory.toString());
    }
  }
}
