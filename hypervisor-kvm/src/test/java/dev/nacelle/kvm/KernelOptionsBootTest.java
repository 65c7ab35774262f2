// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.BootException;
import dev.nacelle.BootTimeline;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.TestImages;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is asked of a kernel beyond booting holds where the workload runs. */
@Tag("boot")
@Timeout(900)
class KernelOptionsBootTest {
  @TempDir Path temp;

  @ParameterizedTest
  @ValueSource(strings = {"debian:6.1", "debian:6.12"})
  void modulesParametersAndSysctlsAreThoseThatAreAskedFor(String kernel) throws IOException {
    SandboxSpec spec =
        spec()
            .kernel(kernel)
            .kernelModules("tun", "wireguard", "nf-tables", "nf_conntrack")
            .kernelParameters("nf_conntrack.expect_hashsize=600 nacelle_test=\"a b\"")
            .sysctl("net.core.somaxconn", "777")
            .sysctl("net.netfilter.nf_conntrack_max", "5000")
            .sysctl("kernel/shmmni", "123")
            .sysctl("fs.mqueue.msg_max", "17")
            .sysctl("net.ipv4.ip_local_port_range", "20000 30000")
            .user("0")
            .security(ProcessSecurity.builder().seccomp(SeccompProfile.UNCONFINED).build())
            .memory(DataSize.mebibytes(192))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      List<String> loaded =
          output(sandbox, "cat /proc/modules").lines().map(line -> line.split(" ")[0]).toList();
      for (String module : spec.kernelModules()) {
        assertTrue(loaded.contains(module), module + " of " + loaded);
      }
      // In namespaces of its own, where a workload without a filter may make interfaces.
      assertEquals(
          "tun7\nwg0\n",
          output(
              sandbox,
              """
              busybox unshare -Urn sh -c '
                busybox tunctl -t tun7 >/dev/null
                busybox ip link add wg0 type wireguard
                busybox grep -o "tun7\\\\|wg0" /proc/net/dev
              '"""));
      assertTrue(output(sandbox, "cat /proc/cmdline").contains(" nacelle_test=\"a b\""));
      // Rounded up to whole pages of pointers; without the parameter it is 512.
      assertEquals(
          "1024\n", output(sandbox, "cat /sys/module/nf_conntrack/parameters/expect_hashsize"));
      assertEquals(
          "777 5000 123 17 20000\t30000",
          output(
                  sandbox,
                  """
                  cd /proc/sys; cat net/core/somaxconn net/netfilter/nf_conntrack_max \
                    kernel/shmmni fs/mqueue/msg_max net/ipv4/ip_local_port_range""")
              .strip()
              .replace('\n', ' '));
      assertGuestMarks(sandbox.timeline());
    }
  }

  @Test
  void aKernelThatWantsSignaturesOfModulesGetsThemAndWhoMayTraceHasTracefs() throws IOException {
    SandboxSpec spec =
        spec().privileged().user("0").kernelParameters("module.sig_enforce=1").build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      assertEquals("Y\n", output(sandbox, "cat /sys/module/module/parameters/sig_enforce"));
      assertEquals(
          "event\n",
          output(
              sandbox,
              """
              mkdir /tracing && busybox mount -t tracefs none /tracing
              busybox test -e /tracing/events/sched/sched_switch/id && echo event"""));
    }
  }

  @Test
  void aSysctlThatTheKernelRefusesFailsTheStart() throws IOException {
    assertFails(
        spec().kernel("nacelle:6.12").sysctl("vm.swappiness", "many"),
        "setting the sysctl vm.swappiness to 'many': Invalid argument");
  }

  @Test
  void aModuleThatTheKernelRefusesFailsTheStart() throws IOException {
    assertFails(
        spec().kernelModules("xen-netfront"), "loading the module xen_netfront: No such device");
  }

  private SandboxSpec.Builder spec() throws IOException {
    return SandboxSpec.builder()
        .image(TestImages.busybox(temp.resolve("image")))
        .kernel("debian:6.1")
        .startTimeout(Duration.ofMinutes(10));
  }

  private static void assertFails(SandboxSpec.Builder spec, String message) {
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build()) {
      BootException e = assertThrows(BootException.class, () -> nacelle.start(spec.build()));
      assertTrue(e.getMessage().contains(message), e::getMessage);
    }
  }

  private static void assertGuestMarks(BootTimeline timeline) {
    BootTimeline.Entry boot = timeline.stage(Stage.BOOT).orElseThrow();
    Duration end = boot.start();
    for (String name : List.of("kernel", "modules", "connect", "answer")) {
      BootTimeline.Entry part = timeline.part(Stage.BOOT, name).orElseThrow();
      assertTrue(part.start().compareTo(end) >= 0, timeline::toString);
      end = part.start().plus(part.duration());
    }
    assertEquals(boot.start().plus(boot.duration()), end);
  }

  private static String output(Sandbox sandbox, String script) {
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("sh", "-euc", script).timeout(Duration.ofMinutes(5)).build());
    assertEquals(0, result.exitCode(), result::toString);
    return result.stdout().text();
  }
}
