// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** This host cannot run virtual machines as it is; {@link #checks()} says why. */
public class HypervisorUnavailableException extends NacelleException {
  private static final long serialVersionUID = 1L;

  @SuppressWarnings("serial") // List.copyOf's is serializable
  private final List<HostCheck> checks;

  /**
   * @param message what was wrong
   * @param remedy what the caller can do, or null
   * @param checks what was found out, per hypervisor
   * @param cause what was caught, or null
   */
  public HypervisorUnavailableException(
      String message, @Nullable String remedy, List<HostCheck> checks, @Nullable Throwable cause) {
    super(Stage.HOST, message, remedy, cause);
    this.checks = List.copyOf(checks);
  }

  /** What was found out about this host, per hypervisor. */
  public List<HostCheck> checks() {
    return checks;
  }
}
