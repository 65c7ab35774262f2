// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.time.Duration;

/**
 * How long the service is waited for.
 *
 * @param call for the result of a call; what has none by then goes on
 * @param pace for a machine that is to stand still, or to go on
 * @param teardown for each step of closing: that what runs ends, that the machine has exited
 */
public record HcsLimits(Duration call, Duration pace, Duration teardown) {
  /**
   * What hcsshim gives calls, and WSL the end of a machine; it takes no time but the host's to have
   * one stand still, which {@link dev.nacelle.spi.VirtualMachine#pause} limits.
   */
  public static final HcsLimits DEFAULT =
      new HcsLimits(Duration.ofMinutes(4), Duration.ofSeconds(30), Duration.ofSeconds(30));
}
