// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.Map;

/**
 * Counters of a virtual machine at one moment.
 *
 * @param firstRunNanoTime {@link System#nanoTime()} just before the first vCPU first entered the
 *     guest; 0 before that
 * @param exits how often a vCPU left the guest for the host's user space, by reason: hypervisor's
 *     own names, e.g. {@code "io:0x3f8:out"}
 * @param ignored how often drivers of the guest did what the rules of their device forbid and the
 *     hypervisor let pass without effect, by device and rule, in the hypervisor's own words
 */
public record VmStatistics(
    long firstRunNanoTime, Map<String, Long> exits, Map<String, Long> ignored) {
  /** Copies the maps. */
  public VmStatistics {
    exits = Map.copyOf(exits);
    ignored = Map.copyOf(ignored);
  }
}
