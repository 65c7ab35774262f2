// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class ProcessSpecTest {
  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(ProcessSpec.class, () -> ProcessSpec.builder("command"))
        .with("workingDirectory", 0, "/a", "/b")
        .check();
  }

  @Test
  void theCommandCountsAndWhetherItFollowsTheEntrypoint() {
    assertEquals(ProcessSpec.of("a", "b"), ProcessSpec.of(List.of("a", "b")));
    assertNotEquals(ProcessSpec.of("a"), ProcessSpec.of("b"));
    assertNotEquals(ProcessSpec.of("a"), ProcessSpec.entrypoint("a").build());
    ProcessSpec entrypoint = ProcessSpec.entrypoint(List.of("a")).build();
    assertEquals(ProcessSpec.entrypoint("a").build(), entrypoint);
    assertEquals(entrypoint, entrypoint.toBuilder().build());
    assertEquals(List.of("/bin/sh", "-c", "x | y"), ProcessSpec.shell("x | y").arguments());
  }

  @Test
  void whatIsDiscardedCanBeKeptAgain() {
    ProcessSpec.Builder spec = ProcessSpec.builder("a").discard(StandardStream.STDERR);
    assertEquals(ProcessSpec.of("a"), spec.keep(StandardStream.STDERR).build());
  }

  @Test
  void whatMayBeSecretIsNotPrinted() {
    ProcessSpec spec =
        ProcessSpec.builder("command").environment("TOKEN", "s3cret").stdin("s3cret").build();
    assertEquals("[command] with [TOKEN]", spec.toString());
    assertFalse(String.valueOf(spec.stdin()).contains("s3cret"), spec::toString);
  }
}
