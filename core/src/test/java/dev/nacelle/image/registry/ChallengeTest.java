// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ChallengeTest {
  @Test
  void severalChallengesMayShareALine() {
    assertEquals(
        List.of(
            new Challenge("basic", Map.of("realm", "a, b")),
            new Challenge(
                "bearer", Map.of("realm", "https://x/token", "scope", "a \"b\"", "n", "1"))),
        Challenge.parse(
            List.of(
                "Basic Realm=\"a, b\", Bearer realm = \"https://x/token\",scope=\"a \\\"b\\\"\",n=1")));
  }

  @Test
  void everyLineCounts() {
    assertEquals(
        List.of(new Challenge("negotiate", Map.of()), new Challenge("basic", Map.of())),
        Challenge.parse(List.of("Negotiate", "Basic")));
  }

  @Test
  void aTokenInPlaceOfParametersIsPassedOver() {
    assertEquals(
        List.of(
            new Challenge("negotiate", Map.of()),
            new Challenge("ntlm", Map.of()),
            new Challenge("basic", Map.of("realm", "x", "charset", "UTF-8"))),
        Challenge.parse(
            List.of("Negotiate oRQwEqADCgEBo/+~AA==, NTLM TlRM , Basic realm=x,charset=UTF-8")));
  }

  @Test
  void whatIsNoChallengeIsPassedOver() {
    assertEquals(List.of(), Challenge.parse(List.of("", ",,,", "realm=\"x\"", "\"", "=")));
    assertEquals(List.of(), Challenge.parse(List.of("Bearer realm=\"" + "\\a".repeat(100_000))));
    assertEquals(
        List.of(new Challenge("bearer", Map.of())),
        Challenge.parse(List.of("Bearer realm=\"" + "\\a".repeat(900))));
  }
}
