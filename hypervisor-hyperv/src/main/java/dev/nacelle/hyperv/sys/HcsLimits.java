// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import java.time.Duration;

/**
 * How long the service is waited for.
 *
 * @param call for the result of a call; what has none by then goes on
 * @param teardown for each step of closing: that what runs ends, that the machine has exited
 */
public record HcsLimits(Duration call, Duration teardown) {
  /** What hcsshim gives calls, and WSL the end of a machine. */
  public static final HcsLimits DEFAULT =
      new HcsLimits(Duration.ofMinutes(4), Duration.ofSeconds(30));
}
