// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.benchmarks;

import dev.nacelle.HostCheck;
import dev.nacelle.Nacelle;

/** Ends with 0 where kernels can be booted on this machine, with 1 where not. */
public final class CanBoot {
  private CanBoot() {}

  public static void main(String... arguments) {
    System.exit(Nacelle.checkHost().stream().anyMatch(HostCheck::usable) ? 0 : 1);
  }
}
