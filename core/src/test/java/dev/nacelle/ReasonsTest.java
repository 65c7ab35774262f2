// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the reasons promise; that each is given where it should be is tested where it happens. */
class ReasonsTest {
  @ParameterizedTest
  @EnumSource
  void anImageIsWorthAnotherAttemptForTheNetworksSakeOnly(ImageException.Reason reason) {
    ImageException e = new ImageException(reason, "it failed", "Mend it.", null);
    assertEquals(reason, e.reason());
    assertEquals("it failed. Mend it.", e.getMessage());
    assertEquals(
        EnumSet.of(
                ImageException.Reason.NETWORK,
                ImageException.Reason.RATE_LIMITED,
                ImageException.Reason.CHANGING)
            .contains(reason),
        e.isTransient());
  }

  @ParameterizedTest
  @EnumSource
  void aKernelIsWorthAnotherAttemptForTheNetworksSakeOrWhileItIsWritten(
      KernelException.Reason reason) {
    KernelException e = new KernelException(reason, "it failed", null, null);
    assertEquals(reason, e.reason());
    assertEquals(
        EnumSet.of(KernelException.Reason.NETWORK, KernelException.Reason.CHANGING)
            .contains(reason),
        e.isTransient());
  }

  @Test
  void anythingElseIsNotSaidToPass() {
    assertFalse(new NacelleException(Stage.BOOT, "it failed", null, null).isTransient());
    assertFalse(
        new HypervisorException(Stage.CREATE, "no memory is left", null, null).isTransient());
  }

  @Test
  void whatCanBeTriedAgainIsFoundByTheRootOfAll() {
    NacelleException e =
        new ImageException(ImageException.Reason.NETWORK, "it is slow", null, null);
    assertTrue(e.isTransient());
  }
}
