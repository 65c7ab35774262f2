// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ResultErrorTest {
  @Test
  void messagesAreTakenOnceEach() {
    assertEquals(
        "Cannot start. 'a.vhd' is not there.",
        ResultError.details(
            "{\"Error\":-1,\"ErrorMessage\":\"Cannot start.\",\"ErrorEvents\":[null,{},"
                + "{\"Message\":\"Cannot start.\\r\\n\"},{\"Message\":\"'a.vhd' is not there.\"}]}"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{}", "", " ", "{\"ErrorEvents\":null}", "{\"ErrorMessage\":\"\"}"})
  void nothingIsSaidOfNothing(String document) {
    String details = ResultError.details(document);
    assertTrue(details.isEmpty(), details);
  }

  @ParameterizedTest
  @ValueSource(strings = {"[]", "{", "7", "{\"ErrorEvents\":{}}", "plain text", "null"})
  void documentThatIsNoneIsShown(String document) {
    assertEquals(document, ResultError.details(document));
  }

  @Test
  void whatIsSaidHasBounds() {
    assertEquals(1000, ResultError.details("x".repeat(1 << 20)).length());
    assertEquals(1000, ResultError.details("[".repeat(1 << 20)).length());
    assertEquals(
        1000, ResultError.details("{\"ErrorMessage\":\"" + "y".repeat(100_000) + "\"}").length());
    assertEquals("a b", ResultError.details("{\"ErrorMessage\":\"a\\u0000\\u001b\\nb\"}"));
  }
}
