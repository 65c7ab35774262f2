// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.spi.HostCheck;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** This host cannot run virtual machines as it is; {@link #checks()} says why. */
public class HypervisorUnavailableException extends NacelleException {
  private static final long serialVersionUID = 1L;

  @SuppressWarnings("serial") // List.copyOf's is serializable
  private final List<HostCheck> checks;

  HypervisorUnavailableException(
      String message, @Nullable String remedy, List<HostCheck> checks, @Nullable Throwable cause) {
    super(Stage.HOST, message, remedy, cause);
    this.checks = List.copyOf(checks);
  }

  /** Of hypervisors that were found, and none of which this host can run. */
  static HypervisorUnavailableException of(List<HostCheck> checks, @Nullable Throwable cause) {
    if (checks.isEmpty()) {
      return new HypervisorUnavailableException(
          "No hypervisor was found on the class path",
          "Add the dependency dev.nacelle:nacelle-hypervisor-kvm.",
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
                            .failure()
                            .map(failure -> failure.name() + ": " + failure.detail())
                            .orElse("the check found nothing, but opening it failed"))
            .collect(Collectors.joining("; "));
    String remedy =
        checks.stream()
            .flatMap(check -> check.failure().stream())
            .map(HostCheck.Finding::remedy)
            .filter(text -> text != null)
            .collect(Collectors.joining(" "));
    return new HypervisorUnavailableException(
        "No hypervisor can be used on this host: " + failures,
        remedy.isEmpty() ? null : remedy,
        checks,
        cause);
  }

  /** What was found out about this host, per hypervisor. */
  public List<HostCheck> checks() {
    return checks;
  }
}
