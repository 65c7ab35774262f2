// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HostCheck.Ability;
import dev.nacelle.HostCheck.Finding;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class HostCheckTest {
  private static final Finding FAILED = Finding.failed("device-node", "is missing", "Make it.");

  @Test
  void whatFailedForAllStandsInTheWayOfEachAbility() {
    HostCheck check = HostCheck.of("some", List.of(Finding.passed("platform", "Linux"), FAILED));
    assertEquals(Optional.empty(), FAILED.ability());
    for (Ability ability : Ability.values()) {
      assertFalse(check.can(ability));
      assertEquals(Optional.of(FAILED), check.failure(ability));
    }
    assertFalse(check.usable());
  }

  @Test
  void whatFailedForOneAbilityLeavesTheOther() {
    Finding unikernels = FAILED.about(Ability.UNIKERNELS);
    HostCheck sandboxes = HostCheck.of("some", List.of(unikernels));
    assertTrue(sandboxes.usable() && sandboxes.can(Ability.LINUX_KERNELS));
    assertEquals(Optional.of(unikernels), sandboxes.failure(Ability.UNIKERNELS));

    HostCheck bare = HostCheck.of("some", List.of(FAILED.about(Ability.LINUX_KERNELS)));
    assertFalse(bare.usable() || bare.can(Ability.LINUX_KERNELS));
    assertTrue(bare.can(Ability.UNIKERNELS));
  }

  @Test
  void onlyWhatFailedStandsInTheWay() {
    Finding warning = Finding.warning("cores", "are shared", "Switch SMT off.");
    HostCheck check = HostCheck.of("some", List.of(warning, warning.about(Ability.LINUX_KERNELS)));
    assertTrue(check.usable() && check.can(Ability.UNIKERNELS));
  }

  @Test
  void aFindingThatIsAboutAnAbilityIsOtherwiseTheSame() {
    Finding about = FAILED.about(Ability.LINUX_KERNELS);
    assertEquals(Optional.of(Ability.LINUX_KERNELS), about.ability());
    assertEquals(FAILED.toString(), about.toString());
    assertNotEquals(FAILED, about);
    assertNotEquals(FAILED.about(Ability.UNIKERNELS), about);
    assertEquals(FAILED.about(Ability.LINUX_KERNELS), about);
    assertEquals(FAILED.remedy(), about.remedy());
  }
}
