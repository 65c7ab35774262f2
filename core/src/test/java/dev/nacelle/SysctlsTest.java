// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SysctlsTest {
  @ParameterizedTest
  @CsvSource({
    "net.core.somaxconn, net.core.somaxconn",
    "net/core/somaxconn, net.core.somaxconn",
    "net.ipv4.conf.eth0/100.forwarding, net.ipv4.conf.eth0/100.forwarding",
    "net/ipv4/conf/eth0.100/forwarding, net.ipv4.conf.eth0/100.forwarding",
  })
  void namesAreReadAsBySysctl(String given, String name) {
    assertEquals(name, Sysctls.name(given));
    assertEquals(name, Sysctls.name(name));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "kernel",
        ".",
        "/",
        ".kernel.shmmax",
        "kernel..shmmax",
        "kernel.shmmax.",
        "/kernel/shmmax",
        "kernel/../../etc/passwd",
        "kernel/./shmmax",
        "kernel.//.shmmax",
        "kernel./.shmmax",
        "kernel.shm max",
        "kernel.shmmax\n",
        "kernel.\u00e9",
        "kernel.hostname",
        "kernel/hostname",
        "kernel.panic",
        "kernel/panic",
      })
  void whatIsNoNameIsRefused(String name) {
    SandboxSpec.Builder spec = SandboxSpec.builder();
    assertThrows(IllegalArgumentException.class, () -> spec.sysctl(name, "1"));
  }

  @Test
  void namesValuesAndTheirNumberHaveBounds() {
    SandboxSpec.Builder spec = SandboxSpec.builder();
    spec.sysctl("a." + "b".repeat(253), "v".repeat(1024));
    assertThrows(IllegalArgumentException.class, () -> spec.sysctl("a." + "b".repeat(254), "1"));
    for (String value : new String[] {"v".repeat(1025), "1\n2", "\0", "\u00e9"}) {
      assertThrows(IllegalArgumentException.class, () -> spec.sysctl("a.b", value));
    }
    for (int i = 1; i < 256; i++) {
      spec.sysctl("a.n" + i, "");
    }
    assertThrows(IllegalArgumentException.class, () -> spec.sysctl("a.n256", ""));
  }

  @Test
  void theLastValueOfASysctlCounts() {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image("oci:/image")
            .sysctl("kernel.shmmax", "1")
            .sysctl("vm.swappiness", "2")
            .sysctl("kernel/shmmax", "3")
            .build();
    assertEquals("{kernel.shmmax=3, vm.swappiness=2}", spec.sysctls().toString());
    assertEquals(List.of("kernel.shmmax", "vm.swappiness"), List.copyOf(spec.sysctls().keySet()));
  }
}
