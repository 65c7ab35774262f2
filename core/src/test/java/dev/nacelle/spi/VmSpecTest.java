// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.RateLimits;
import dev.nacelle.SpecContract;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VmSpecTest {
  private static final Path FILE = Path.of("/vmlinux");
  private static final DataSize MEMORY = DataSize.mebibytes(64);

  private static VmSpec.Linux.Builder linux() {
    return VmSpec.Linux.builder(FILE);
  }

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    VmSpec.Disk disk = VmSpec.Disk.of("a", FILE, true);
    new SpecContract(VmSpec.class, () -> VmSpec.builder("a", linux().build(), MEMORY))
        .with("disks", 0, List.of(disk), List.of(disk, VmSpec.Disk.of("b", FILE, true)))
        .with("consoleSize", 0, DataSize.kibibytes(1), DataSize.kibibytes(2))
        .with("rateLimits", 0, limited(1), limited(2))
        .check();
    new SpecContract(VmSpec.Linux.class, VmSpecTest::linux).check();
    VmSpec spec = VmSpec.builder("a", linux().build(), MEMORY).build();
    assertNotEquals(spec, VmSpec.builder("b", linux().build(), MEMORY).build());
    assertNotEquals(spec, VmSpec.builder("a", VmSpec.Bare.of(FILE, ""), MEMORY).build());
    DataSize other = DataSize.mebibytes(65);
    assertNotEquals(spec, VmSpec.builder("a", linux().build(), other).build());
    assertNotEquals(linux().build(), VmSpec.Linux.builder(Path.of("/other")).build());
  }

  private static RateLimits limited(long operations) {
    return RateLimits.NONE.withSocket(RateLimit.operations(operations));
  }

  @ParameterizedTest
  @ValueSource(strings = {"a\0b", "a\nb", "\33[2J", "\u009b"})
  void aCommandLineWithAControlCharacterIsRefused(String line) {
    assertRefused("the kernel parameters hold a control character", () -> linux().parameters(line));
    assertRefused("the command line holds a control character", () -> VmSpec.Bare.of(FILE, line));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a=\"b c\" -- d", "name=\u00fc"})
  void anyOtherIsTakenAsItIs(String line) {
    assertEquals(line, linux().parameters(line).build().parameters());
    assertEquals(line, VmSpec.Bare.of(FILE, line).commandLine());
  }

  @Test
  void whatNoHypervisorCouldAcceptIsRefused() {
    VmSpec.Linux linux = linux().build();
    VmSpec.Builder spec = VmSpec.builder("a", linux, MEMORY);
    assertRefused("not a virtual machine's name: a b", () -> VmSpec.builder("a b", linux, MEMORY));
    for (long bytes : new long[] {0, 4095, 4097}) {
      assertRefused(
          "memory is not a positive multiple of 4096 bytes: " + bytes,
          () -> VmSpec.builder("a", linux, DataSize.bytes(bytes)));
    }
    assertRefused("a virtual machine needs at least one vCPU, not 0", () -> spec.cpus(0));
    for (DataSize size : List.of(DataSize.bytes(1023), DataSize.mebibytes(17))) {
      assertRefused("the console keeps 1KiB to 16MiB, not " + size, () -> spec.consoleSize(size));
    }
    VmSpec.Disk disk = VmSpec.Disk.of("same", FILE, true);
    assertRefused("two disks have the serial number same", () -> spec.disks(List.of(disk, disk)));
    for (String serial : List.of("", "a b", "x".repeat(21))) {
      assertRefused(
          "not a disk's serial number: " + serial, () -> VmSpec.Disk.of(serial, FILE, true));
    }
    int most = VmSpec.Linux.MAX_PARAMETERS;
    assertRefused(
        "the kernel parameters have " + (most + 1) + " bytes, more than " + most,
        () -> linux().parameters("x".repeat(most + 1)));
  }
}
