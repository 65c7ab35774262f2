// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import java.util.Map;

/**
 * Counters of a virtual machine at one moment.
 *
 * @param firstRunNanoTime {@link System#nanoTime()} just before the first vCPU first entered the
 *     guest; 0 before that
 * @param exits how often a vCPU left the guest for the host's user space, by reason: hypervisor's
 *     own names, e.g. {@code "io:0x3f8:out"}
 */
public record VmStatistics(long firstRunNanoTime, Map<String, Long> exits) {
  /** Copies the map. */
  public VmStatistics {
    exits = Map.copyOf(exits);
  }
}
