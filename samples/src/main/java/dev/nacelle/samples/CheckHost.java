// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.samples;

import dev.nacelle.HostCheck;
import dev.nacelle.Nacelle;
import java.util.List;

/** Says what this host can do; exits with 0 when some hypervisor of it can run containers. */
public final class CheckHost {
  private CheckHost() {}

  public static void main(String... args) {
    List<HostCheck> checks = Nacelle.checkHost();
    for (HostCheck check : checks) {
      System.out.println(check.hypervisor() + ": " + describe(check));
      for (HostCheck.Finding finding : check.findings()) {
        System.out.printf("  %-8s%s: %s%n", finding.status(), finding.name(), finding.detail());
        finding.remedy().ifPresent(remedy -> System.out.println("          " + remedy));
      }
    }
    System.exit(checks.stream().anyMatch(HostCheck::usable) ? 0 : 1);
  }

  private static String describe(HostCheck check) {
    if (check.usable()) {
      return "usable";
    }
    return check.can(HostCheck.Ability.UNIKERNELS) ? "usable for unikernels alone" : "not usable";
  }
}
