// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class HResultTest {
  @ParameterizedTest
  @EnumSource
  void everyResultIsAFailureThatIsFoundAgain(HResult result) {
    assertTrue(HResult.isFailure(result.code()));
    assertEquals(result, HResult.of(result.code()));
    if (result.name().startsWith("HCS_E_")) {
      assertEquals(result, HResult.of(result.code() | 0x4000_0000), "vmcompute.dll's form");
    } else if (result != HResult.ERROR_VIRTUAL_DISK_LIMITATION) {
      assertNull(HResult.of(result.code() | 0x4000_0000));
    }
  }

  @ParameterizedTest
  @EnumSource
  void everyResultIsToldWithWhatToDoInSentences(HResult result) {
    assertFalse(result.meaning().endsWith("."));
    String remedy = new HcsException("HcsX", result.code(), null).remedy();
    assertTrue(remedy.endsWith("."), remedy);
    assertTrue(Character.isUpperCase(remedy.charAt(0)), remedy);
  }

  @Test
  void successIsNoFailure() {
    assertFalse(HResult.isFailure(0));
    assertFalse(HResult.isFailure(1));
  }

  @Test
  void numberThatHasNoPlaceIsToldAsOne() {
    HcsException e = new HcsException("HcsX", 0x8000_4005, "{}");
    assertEquals("HcsX: HRESULT 0x80004005", e.getMessage());
    assertEquals(0x8000_4005, e.code());
    assertNull(e.result());
    assertTrue(e.remedy().contains("event log"), e::remedy);
  }
}
