// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.PullPolicy;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SandboxSpecTest {
  /** Nothing as it is by default. */
  private static SandboxSpec.Builder full() {
    return SandboxSpec.builder()
        .image("oci:/image")
        .kernel("debian:6.1")
        .name("name")
        .labels(Map.of("a", "b"))
        .memory(DataSize.mebibytes(300))
        .memoryPolicy(MemoryPolicy.DENSITY)
        .cpus(3)
        .writableLayer(WritableLayer.onDisk(DataSize.mebibytes(17)))
        .rateLimits(RateLimits.NONE.withDisks(RateLimit.bytes(1 << 20)))
        .coreScheduling(false)
        .sharedMemory(DataSize.mebibytes(18))
        .pidsLimit(99)
        .fetchTimeout(Duration.ofSeconds(6))
        .startTimeout(Duration.ofSeconds(7))
        .idleTimeout(Duration.ofSeconds(5))
        .maxLifetime(Duration.ofSeconds(8))
        .stopGrace(Duration.ofSeconds(9))
        .hostname("host")
        .environment("A", "B")
        .user("user")
        .workingDirectory("/work")
        .pullPolicy(PullPolicy.NEVER)
        .entrypoint("e")
        .command("c")
        .stopSignal(Signal.QUIT)
        .init(true)
        .kernelParameters("quiet")
        .kernelModules("tun")
        .sysctls(Map.of("net.core.somaxconn", "7"));
  }

  @Test
  void aCopyHasAllThatTheOriginalHas() throws Exception {
    SandboxSpec original = full().build();
    SandboxSpec copy = original.toBuilder().build();
    SandboxSpec plain = SandboxSpec.builder().image("oci:/other").build();
    for (Method getter : SandboxSpec.class.getDeclaredMethods()) {
      boolean isGetter =
          Modifier.isPublic(getter.getModifiers())
              && !Modifier.isStatic(getter.getModifiers())
              && getter.getParameterCount() == 0
              && !Set.of("toString", "toBuilder").contains(getter.getName());
      if (isGetter) {
        assertEquals(getter.invoke(original), getter.invoke(copy), getter.getName());
        assertNotEquals(getter.invoke(plain), getter.invoke(copy), getter.getName());
      }
    }
  }

  @Test
  void aCopyThatDiffersLeavesTheOriginalAlone() {
    SandboxSpec original = full().build();
    SandboxSpec other = original.toBuilder().kernel("debian:6.12").environment("A", "C").build();
    assertEquals("debian:6.12", other.kernel().toString());
    assertEquals("debian:6.1", original.kernel().toString());
    assertEquals(Map.of("A", "B"), original.environment());
    assertEquals(List.of("tun"), other.kernelModules());
  }

  @Test
  void valuesThatMayBeSecretAreInNoMessage() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> full().environment("TOKEN", "s3cret\0"));
    assertEquals("the variable TOKEN holds a NUL, at index 6", e.getMessage());
    assertFalse(full().environment("TOKEN", "s3cret").build().toString().contains("s3cret"));
  }

  @Test
  void whatAProcessCannotBeGivenIsRefused() {
    String path = "/" + "x".repeat(4095);
    assertThrows(IllegalArgumentException.class, () -> full().workingDirectory(path));
    assertThrows(IllegalArgumentException.class, () -> full().user("u".repeat(513)));
    assertThrows(IllegalArgumentException.class, () -> ProcessSpec.of(path));
    ProcessSpec.Builder large = ProcessSpec.builder("true", "x".repeat(128 << 10));
    assertThrows(IllegalArgumentException.class, large::build);
    SandboxSpec.Builder lost = full().environment("PATH", ":".repeat(256));
    assertThrows(IllegalArgumentException.class, lost::build);
  }

  @Test
  void sharedMemoryIsAtMostHalfOfTheMemory() {
    SandboxSpec.Builder spec = full().memory(DataSize.mebibytes(100));
    spec.sharedMemory(DataSize.mebibytes(50)).build();
    spec.sharedMemory(DataSize.mebibytes(51));
    var tooMuch = assertThrows(IllegalArgumentException.class, spec::build);
    assertTrue(tooMuch.getMessage().contains("shared memory of 51MiB"), tooMuch::getMessage);
    assertThrows(IllegalArgumentException.class, () -> spec.sharedMemory(DataSize.bytes(0)));
  }
}
