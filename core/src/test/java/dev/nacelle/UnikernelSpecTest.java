// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class UnikernelSpecTest {
  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(UnikernelSpec.class, UnikernelSpecTest::spec)
        .with("rateLimits", 0, limited(1), limited(2))
        .check();
  }

  private static UnikernelSpec.Builder spec() {
    return UnikernelSpec.builder().image(Path.of("image"));
  }

  private static RateLimits limited(long operations) {
    return RateLimits.NONE.withSocket(RateLimit.operations(operations));
  }

  @Test
  void whatNoMachineCanMeetIsRefused() {
    assertRefused("a unikernel needs an image", () -> UnikernelSpec.builder().build());
    assertRefused("the command line holds a control character", () -> spec().commandLine("a\nb"));
    assertRefused(
        "a unikernel needs at least 2 MiB of memory, not 1MiB",
        () -> spec().memory(DataSize.mebibytes(1)));
    assertRefused(
        "no machine has 9223372036854775807B of memory",
        () -> spec().memory(DataSize.bytes(Long.MAX_VALUE)));
    assertRefused("a unikernel needs at least one vCPU, not 0", () -> spec().cpus(0));
    assertRefused(
        "a unikernel's name is 1 to 64 characters of [A-Za-z0-9._-], not 'a b'",
        () -> spec().name("a b"));
    RateLimits disks = RateLimits.NONE.withDisks(RateLimit.operations(7));
    assertRefused("a unikernel has no disks to limit", () -> spec().rateLimits(disks));
    for (Duration time :
        List.of(Duration.ofSeconds(Long.MAX_VALUE), Duration.ZERO, Duration.ofNanos(-1))) {
      assertRefused(
          "the timeout is not between 1 ns and 100 years: " + time, () -> spec().timeout(time));
    }
  }

  /** By calls of a program: whether null is ambiguous only a compiler knows. */
  @Test
  void whatIsOptionalIsTakenBack() {
    UnikernelSpec full = spec().name("a").console(bytes -> {}).build();
    assertNotEquals(spec().build(), full);
    assertEquals(spec().build(), full.toBuilder().name(null).console(null).build());
  }
}
