// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class KernelParametersTest {
  private static String refusal(String parameters) {
    SandboxSpec.Builder spec = SandboxSpec.builder();
    return assertThrows(
            IllegalArgumentException.class, () -> spec.kernelParameters(parameters), parameters)
        .getMessage();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "quiet mitigations=off",
        "  spaced   out  ",
        "name=\"a b\" \"other=c d\"",
        "initcall_debug init_on_alloc=0 panic_on_oops=1 acpi.debug_layer=1 earlyprintk=ttyS0",
        "sysctl.kernel.panic_on_oops=1 sysctl.vm/swappiness=1",
        "note=\"not init=/x but -- text\""
      })
  void whatTheKernelTakesIsPassedOnAsItIs(String parameters) {
    assertEquals(
        parameters,
        SandboxSpec.builder()
            .image("oci:/image")
            .kernelParameters(parameters)
            .build()
            .kernelParameters());
  }

  @Test
  void tooManyAreRefusedWithBothLengths() {
    assertEquals(1536, KernelParameters.check("x".repeat(1536)).length());
    String message = refusal("x".repeat(1537));
    assertTrue(message.contains("have 1537 characters; at most 1536 fit"), message);
  }

  @ParameterizedTest
  @CsvSource({"000A, quiet", "0000, quiet", "0009, a=b", "007F, ''", "00E9, caf", "FFFD, x"})
  void whatIsNotPrintableAsciiIsRefusedWithItsPlace(String code, String before) {
    String message = refusal(before + (char) Integer.parseInt(code, 16) + " after");
    assertTrue(message.contains("U+" + code + " after '" + before + "'"), message);
  }

  @ParameterizedTest
  @CsvSource({
    "init=/bin/sh, init",
    "quiet rdinit=/x, init",
    "\"rdinit=/x y\", init",
    "\"noinitrd\", initramfs",
    "initrd=/x, initramfs",
    "noinitrd, initramfs",
    "a=b console=hvc0, serial port",
    "panic=0, reset",
    "sysctl.kernel.panic=0, reset",
    "\"sysctl/kernel//panic=0\", reset",
    "reboot=t, reset",
    "acpi=off, ACPI",
    "quiet -- single, arguments for init",
  })
  void whatKeepsTheMachineFromStartingIsRefusedWithTheReason(String parameters, String reason) {
    String message = refusal(parameters);
    assertTrue(message.contains(reason), message);
  }

  @Test
  void anOpenQuotationMarkIsRefused() {
    assertTrue(refusal("a=\"b c").contains("is not closed"));
  }
}
