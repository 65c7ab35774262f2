// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** What this process has open (proc_pid_fd(5)). */
public final class OpenFiles {
  private OpenFiles() {}

  /** What each of its descriptors is for: a file, or such as {@code anon_inode:[eventfd]}. */
  public static List<Path> targets() throws IOException {
    List<Path> targets = new ArrayList<>();
    try (var descriptors = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
      for (Path descriptor : descriptors) {
        try {
          targets.add(Files.readSymbolicLink(descriptor));
        } catch (IOException e) {
          // Closed in the meantime.
        }
      }
    }
    return targets;
  }
}
