// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorUnavailableException;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.HypervisorProvider;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * What the hypervisor needs of Linux kernels, and whether it runs those that were not written for
 * it. That is found out by trying, before the first one boots: otherwise it would run for a minute
 * and then die for no visible reason.
 */
final class LinuxSupport {
  private final HypervisorProvider provider;
  private volatile boolean found;

  LinuxSupport(HypervisorProvider provider) {
    this.provider = provider;
  }

  /** The drivers that a kernel needs for its machines. */
  List<GuestDriver> drivers() {
    return provider.drivers();
  }

  /** Whether such a kernel needs no timer chip of its machine. */
  boolean keepsTimeWithoutAChip(Predicate<String> hasBuiltIn) {
    return provider.clockOption().filter(hasBuiltIn).isPresent();
  }

  /**
   * Returns when it does; at once, when it did before.
   *
   * @throws HypervisorUnavailableException when it does not
   */
  void require() {
    if (found) {
      return;
    }
    HostCheck check = provider.check();
    boolean refused =
        check.findings().stream()
            .anyMatch(
                finding ->
                    finding.ability().equals(Optional.of(HostCheck.Ability.LINUX_KERNELS))
                        && finding.status() == HostCheck.Status.FAILED);
    if (refused) {
      throw HostChecks.unavailable(List.of(check), null);
    }
    found = true;
  }
}
