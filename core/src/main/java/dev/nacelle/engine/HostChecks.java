// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Ability;
import dev.nacelle.HypervisorUnavailableException;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** What checks of this host mean. */
final class HostChecks {
  private HostChecks() {}

  /** Of hypervisors that were found, and none of which this host can run. */
  static HypervisorUnavailableException unavailable(
      List<HostCheck> checks, @Nullable Throwable cause) {
    if (checks.isEmpty()) {
      return new HypervisorUnavailableException(
          "No hypervisor was found on the class path",
          "Add the dependency dev.nacelle:nacelle.",
          checks,
          cause);
    }
    String failures =
        checks.stream()
            .map(
                check ->
                    check.hypervisor()
                        + ": "
                        + check
                            .failure(Ability.LINUX_KERNELS)
                            .map(failure -> failure.name() + ": " + failure.detail())
                            .orElse("the check found nothing, but opening it failed"))
            .collect(Collectors.joining("; "));
    String remedy =
        checks.stream()
            .flatMap(check -> check.failure(Ability.LINUX_KERNELS).stream())
            .flatMap(failure -> failure.remedy().stream())
            .collect(Collectors.joining(" "));
    return new HypervisorUnavailableException(
        "No hypervisor can be used on this host: " + failures,
        remedy.isEmpty() ? null : remedy,
        checks,
        cause);
  }
}
