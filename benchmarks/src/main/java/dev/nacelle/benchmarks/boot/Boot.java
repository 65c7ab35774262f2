// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks.boot;

import dev.nacelle.MemoryPolicy;
import java.nio.file.Path;
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
}
