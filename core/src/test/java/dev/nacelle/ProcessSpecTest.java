// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.container.ProcessSecurity;
import java.time.Duration;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class ProcessSpecTest {
  private static final ProcessSecurity WITHOUT =
      ProcessSecurity.builder().noNewPrivileges(true).build();

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(ProcessSpec.class, () -> ProcessSpec.builder("command"))
        .with("workingDirectory", 0, "/a", "/b")
        .with("security", 0, ProcessSecurity.PRIVILEGED, WITHOUT)
        .with("executable", 0, "/a", "/b")
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

  @Test
  void whatNoProcessCanBeGivenIsRefused() {
    assertRefused("a process needs a command", () -> ProcessSpec.of());
    assertRefused("a process needs a command", () -> ProcessSpec.of(List.of()));
    assertRefused("a process needs a command", () -> ProcessSpec.of(""));
    assertRefused("the argument holds a NUL, at index 1", () -> ProcessSpec.of("a", "b\0c"));
    assertRefused(
        "the command has 4096 bytes, more than 4095", () -> ProcessSpec.of("x".repeat(4096)));
    ProcessSpec.Builder large = ProcessSpec.builder("true", "x".repeat(128 << 10));
    assertRefused("the argument has 131072 bytes, more than 131071", large::build);
    ProcessSpec.Builder many = ProcessSpec.builder(Collections.nCopies(65_537, "x"));
    assertRefused("65537 arguments and variables are more than 65536", many::build);
  }

  @Test
  void timesThatCannotBeKeptAreRefused() {
    ProcessSpec.Builder spec = ProcessSpec.builder("a");
    for (Duration time : List.of(Duration.ofNanos(-1), Duration.ofSeconds(60).plusNanos(1))) {
      assertRefused("the linger is not between 0 and 60 s: " + time, () -> spec.linger(time));
    }
    Duration late = Duration.ofMinutes(10).plusNanos(1);
    assertRefused(
        "the start timeout is not between 1 ns and 10 minutes: " + late,
        () -> spec.startTimeout(late));
    for (Duration time : List.of(Duration.ZERO, Duration.ofNanos(-1))) {
      assertRefused(
          "the start timeout is not between 1 ns and 10 minutes: " + time,
          () -> spec.startTimeout(time));
      assertRefused(
          "the timeout is not between 1 ns and 100 years: " + time, () -> spec.timeout(time));
    }
  }

  @Test
  void aTerminalHasBounds() {
    assertRefused(
        "a terminal has 0 to 65535 rows and columns, not -1 x 80", () -> new TerminalSize(-1, 80));
    assertRefused(
        "a terminal has 0 to 65535 rows and columns, not 24 x 65536",
        () -> new TerminalSize(24, 65536));
  }

  /** By calls of a program: whether null is ambiguous only a compiler knows. */
  @Test
  void whatIsOptionalIsTakenBack() {
    ProcessSpec plain = ProcessSpec.of("a");
    ProcessSpec full =
        plain.toBuilder()
            .workingDirectory("/a")
            .user("a")
            .terminal(new TerminalSize(1, 2))
            .stopSignal(Signal.QUIT)
            .timeout(Duration.ofSeconds(1))
            .linger(Duration.ZERO)
            .stdin("a")
            .outputLimit(DataSize.mebibytes(1), OnLimit.KILL)
            .build();
    assertNotEquals(plain, full);
    ProcessSpec takenBack =
        full.toBuilder()
            .workingDirectory(null)
            .user(null)
            .terminal(null)
            .stopSignal(null)
            .timeout(null)
            .linger(null)
            .removeStdin()
            .outputLimit(null)
            .build();
    assertEquals(plain, takenBack);
    ProcessSpec other = full.toBuilder().outputLimit(DataSize.mebibytes(2)).build();
    assertEquals(OnLimit.TRUNCATE, other.onLimit());
  }
}
