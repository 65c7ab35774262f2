// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** An image of BusyBox and two users, and where to run it. */
final class SmallImage {
  private SmallImage() {}

  /**
   * A session in a directory.
   *
   * <p>It mounts: whoever may not is told so by a test that does not run.
   */
  static Session session(Path directory) throws IOException {
    assumeTrue(Host.isRoot(), "it takes root");
    Path work = Files.createDirectories(directory.resolve("work"));
    try {
      Mounts.mount("tmpfs", "tmpfs", work, 0, "mode=700");
    } catch (IOException e) {
      assumeTrue(false, "it takes the leave to mount: " + e.getMessage());
    }
    Setting setting =
        new Setting(directory.resolve("cache"), work, Map.of(), Duration.ofMinutes(2));
    return new Session(setting, "dir:" + make(directory.resolve("image")));
  }

  /** What {@link #session} mounted. */
  static void unmount(Path directory) throws IOException {
    Mounts.unmount(directory.resolve("work"));
  }

  private static Path make(Path root) throws IOException {
    Path bin = Files.createDirectories(root.resolve("bin"));
    Files.createDirectories(root.resolve("tmp"));
    Path etc = Files.createDirectories(root.resolve("etc"));
    Files.writeString(
        etc.resolve("passwd"), "root:x:0:0::/:/bin/sh\nworker:x:1000:1001::/:/bin/sh\n");
    Files.writeString(etc.resolve("group"), "root:x:0:\nstaff:x:1002:worker\n");
    Files.copy(Path.of("/bin/busybox"), bin.resolve("busybox"));
    for (String applet : new String[] {"sh", "echo", "cat", "id", "true", "sleep"}) {
      Files.createSymbolicLink(bin.resolve(applet), Path.of("busybox"));
    }
    return root;
  }
}
