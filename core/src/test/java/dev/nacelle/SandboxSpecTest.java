// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class SandboxSpecTest {
  private static SandboxSpec.Builder spec() {
    return SandboxSpec.builder().image("oci:/image");
  }

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(SandboxSpec.class, SandboxSpecTest::spec)
        .with("image", 0, "oci:/a", "oci:/b")
        .with("image", 0, ImageRef.parse("oci:/c"), ImageRef.parse("oci:/d"))
        .with("kernel", 0, "debian:6.1", "debian:6.12")
        .with("kernel", 0, KernelRef.nacelle("6.1"), KernelRef.nacelle("6.12"))
        .with("memory", 0, DataSize.mebibytes(300), DataSize.mebibytes(301))
        .with("rateLimits", 0, limited(1), limited(2))
        .with("sysctl", 0, "net.core.somaxconn", "vm.swappiness")
        .with("sysctls", 0, Map.of("net.core.somaxconn", "c"), Map.of("vm.swappiness", "d"))
        .with("workingDirectory", 0, "/a", "/b")
        .with(
            "writableLayer",
            0,
            WritableLayer.inMemory(DataSize.mebibytes(17)),
            WritableLayer.onDisk(DataSize.mebibytes(17)))
        .check();
  }

  private static RateLimits limited(long operations) {
    return RateLimits.NONE.withDisks(RateLimit.operations(operations));
  }

  @Test
  void modulesAndSysctlsAreTakenBackByEitherOfTheirNames() {
    SandboxSpec.Builder spec = spec();
    SandboxSpec plain = spec.build();
    spec.kernelModules(List.of("nf-tables", "tun")).sysctl("net.core.somaxconn", "7");
    assertEquals(List.of("nf_tables", "tun"), spec.build().kernelModules());
    spec.removeKernelModule("nf-tables").removeKernelModule("tun");
    assertEquals(plain, spec.removeSysctl("net/core/somaxconn").build());
  }

  @Test
  void theOrderOfSysctlsCounts() {
    SandboxSpec.Builder spec = spec();
    SandboxSpec one = spec.sysctl("a.b", "1").sysctl("a.c", "1").build();
    SandboxSpec other = spec.removeSysctl("a.b").sysctl("a.b", "1").build();
    assertEquals(one.sysctls(), other.sysctls());
    assertNotEquals(one, other);
  }

  @Test
  void aCopyThatDiffersLeavesTheOriginalAlone() {
    SandboxSpec original = spec().kernel("debian:6.1").environment("A", "B").build();
    SandboxSpec other = original.toBuilder().kernel("debian:6.12").environment("A", "C").build();
    assertEquals("debian:6.12", other.kernel().toString());
    assertEquals("debian:6.1", original.kernel().toString());
    assertEquals(Map.of("A", "B"), original.environment());
  }

  @Test
  void valuesThatMayBeSecretAreInNoMessage() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> spec().environment("TOKEN", "s3cret\0"));
    assertEquals("the variable TOKEN holds a NUL, at index 6", e.getMessage());
    assertFalse(spec().environment("TOKEN", "s3cret").build().toString().contains("s3cret"));
  }

  @Test
  void whatAProcessCannotBeGivenIsRefused() {
    String path = "/" + "x".repeat(4095);
    assertThrows(IllegalArgumentException.class, () -> spec().workingDirectory(path));
    assertThrows(IllegalArgumentException.class, () -> spec().user("u".repeat(513)));
    assertThrows(IllegalArgumentException.class, () -> ProcessSpec.of(path));
    ProcessSpec.Builder large = ProcessSpec.builder("true", "x".repeat(128 << 10));
    assertThrows(IllegalArgumentException.class, large::build);
    SandboxSpec.Builder lost = spec().environment("PATH", ":".repeat(256));
    assertThrows(IllegalArgumentException.class, lost::build);
  }

  @Test
  void sharedMemoryIsAtMostHalfOfTheMemory() {
    SandboxSpec.Builder spec = spec().memory(DataSize.mebibytes(100));
    spec.sharedMemory(DataSize.mebibytes(50)).build();
    spec.sharedMemory(DataSize.mebibytes(51));
    var tooMuch = assertThrows(IllegalArgumentException.class, spec::build);
    assertTrue(tooMuch.getMessage().contains("shared memory of 51MiB"), tooMuch::getMessage);
    assertThrows(IllegalArgumentException.class, () -> spec.sharedMemory(DataSize.bytes(0)));
  }
}
