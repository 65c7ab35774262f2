// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.store.ImageStore;
import dev.nacelle.image.store.ResolvedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * An image as a directory of the host: the very filesystem that Nacelle's machines have as a disk,
 * mounted read-only by a loop device, so that all isolations read the same bytes. Needs root.
 */
final class UnpackedImage implements AutoCloseable {
  private final ResolvedImage image;
  private final Path root;

  private UnpackedImage(ResolvedImage image, Path root) {
    this.image = image;
    this.root = root;
  }

  /**
   * Finds an image, pulls and unpacks it where that was not done yet, and mounts it.
   *
   * @param root a directory for it, made here
   */
  static UnpackedImage open(Path cache, String reference, Path root) throws IOException {
    ResolvedImage image =
        new ImageStore(cache.resolve("images")).resolve(ImageRef.parse(reference));
    Files.createDirectories(root);
    try {
      HostProcess.run(
          List.of("mount", "-o", "loop,ro,noload", image.filesystem().toString(), root.toString()));
    } catch (IOException e) {
      Files.delete(root);
      throw e;
    }
    return new UnpackedImage(image, root);
  }

  /** The image, pinned to its content where its kind of reference can be. */
  ImageRef reference() {
    return switch (image.ref().transport()) {
      case DIRECTORY, DOCKER_ARCHIVE -> image.ref();
      default -> image.pinnedRef();
    };
  }

  String digest() {
    return image.digest().toString();
  }

  ImageConfig config() {
    return image.config();
  }

  /** Its files. */
  Path root() {
    return root;
  }

  @Override
  public void close() throws IOException {
    Mounts.unmount(root);
    Files.delete(root);
  }
}
