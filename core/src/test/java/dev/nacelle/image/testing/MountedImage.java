// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** An ext4 image mounted by the kernel of this machine, which takes root; without, tests fail. */
public final class MountedImage implements AutoCloseable {
  private final Path mountPoint;

  private MountedImage(Path mountPoint) {
    this.mountPoint = mountPoint;
  }

  /**
   * Mounts it at a new directory.
   *
   * @param options of mount(8), "ro" or "rw"
   */
  public static MountedImage mount(Path image, String options) throws IOException {
    Path mountPoint = Files.createTempDirectory("nacelle-mount");
    try {
      Tool.run(
          mountPoint.getParent(),
          "mount",
          "-t",
          "ext4",
          "-o",
          "loop," + options,
          image.toString(),
          mountPoint.toString());
    } catch (AssertionError e) {
      Files.delete(mountPoint);
      throw e;
    }
    return new MountedImage(mountPoint);
  }

  public Path root() {
    return mountPoint;
  }

  /** Fails where e2fsck would change anything. */
  public static void check(Path image) {
    Tool.run(image.toAbsolutePath().getParent(), "e2fsck", "-fn", image.toString());
  }

  @Override
  public void close() throws IOException {
    Tool.run(mountPoint.getParent(), "umount", mountPoint.toString());
    Files.delete(mountPoint);
  }
}
