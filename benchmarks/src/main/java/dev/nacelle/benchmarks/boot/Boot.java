// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import dev.nacelle.MemoryPolicy;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;

/** Boots the same guest once, in one kind of machine. */
interface Boot {
  /** What is booted. */
  record Guest(
      Path kernel, Path initramfs, String parameters, int memoryMib, MemoryPolicy memoryPolicy) {}

  /**
   * What one boot took.
   *
   * @param readyNanos from the call, or the fork, to the host having accepted the agent's dial
   * @param counters the monitor's own counts, by name; may be empty
   */
  record Result(long readyNanos, Map<String, Long> counters) {}

  /** For the tables. */
  String name();

  /**
   * Boots, waits for the dial, and removes the machine.
   *
   * @throws IllegalStateException when the guest does not become ready, with what it said
   */
  Result run(Guest guest);

  /**
   * A copy of a file, for a guest. The lab has its own files in memory, and those of the machine
   * that it runs on over a socket: to open one takes 1 to 11 ms there, for whichever program.
   */
  static Path copy(Path file, Path directory) throws IOException {
    Path copy = directory.resolve(file.getFileName());
    Files.copy(file, copy, StandardCopyOption.REPLACE_EXISTING);
    directory.toFile().deleteOnExit();
    copy.toFile().deleteOnExit();
    return copy;
  }
}
