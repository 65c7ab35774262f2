// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.Refusals.assertRefused;
import static dev.nacelle.Refusals.assertRefusedFor;
import static org.junit.jupiter.api.Assertions.assertEquals;

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
    String dotted = name.replace('/', '.');
    String words =
        switch (dotted) {
          case "kernel.hostname" ->
              "the sysctl kernel.hostname cannot be set: the host name is set";
          case "kernel.panic" -> "the sysctl kernel.panic cannot be set: ";
          default -> "not the name of a sysctl, such as net.core.somaxconn: '" + name + "'";
        };
    assertRefusedFor(words, () -> spec.sysctl(name, "1"));
  }

  @Test
  void namesValuesAndTheirNumberHaveBounds() {
    SandboxSpec.Builder spec = SandboxSpec.builder();
    spec.sysctl("a." + "b".repeat(253), "v".repeat(1024));
    assertRefused(
        "not the name of a sysctl, such as net.core.somaxconn: 'a." + "b".repeat(253) + "'",
        () -> spec.sysctl("a." + "b".repeat(254), "1"));
    assertRefused(
        "the value of the sysctl a.b has 1025 characters, and at most 1024 are taken",
        () -> spec.sysctl("a.b", "v".repeat(1025)));
    for (String value : new String[] {"1\n2", "\0", "\u00e9"}) {
      assertRefused(
          "the value of the sysctl a.b is not one line of printable ASCII",
          () -> spec.sysctl("a.b", value));
    }
    for (int i = 1; i < 256; i++) {
      spec.sysctl("a.n" + i, "");
    }
    assertRefused("a sandbox may set 256 sysctls, not more", () -> spec.sysctl("a.n256", ""));
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
