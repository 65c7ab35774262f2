// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** What this process has open (proc_pid_fd(5)). */
public final class OpenFiles {
  private OpenFiles() {}

  /** What each of its descriptors is for: a file, or such as {@code anon_inode:[eventfd]}. */
  public static List<Path> targets() throws IOException {
    return List.copyOf(descriptors().values());
  }

  /** Likewise, by their numbers; those that are closed meanwhile are left out. */
  public static Map<Integer, Path> descriptors() throws IOException {
    Map<Integer, Path> targets = new TreeMap<>();
    try (var descriptors = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
      for (Path descriptor : descriptors) {
        try {
          targets.put(
              Integer.valueOf(descriptor.getFileName().toString()),
              Files.readSymbolicLink(descriptor));
        } catch (IOException e) {
          // Closed in the meantime.
        }
      }
    }
    return targets;
  }
}
