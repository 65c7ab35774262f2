// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.Nacelle;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TestImages;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.image.ImageRef;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.TestKernels;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What our own kernels are for, each in the smallest machine that a static program needs. */
@Tag("boot")
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class OwnKernelTest {
  /** What its image has beside BusyBox. */
  static final String[] PROGRAMS = {
    "/usr/bin/perl",
    "/usr/sbin/ip6tables-legacy",
    "/usr/sbin/ip6tables-nft",
    "/usr/sbin/iptables-legacy",
    "/usr/sbin/iptables-nft",
    "/usr/sbin/nft",
    "/usr/sbin/tc",
    "/usr/bin/ip",
    "/usr/lib/x86_64-linux-gnu/xtables",
  };

  /** Functions of what only other machines have, or a driver that the test would need to drive. */
  private static final List<String> DRIVERS =
      List.of(
          "ptp_kvm_gettime",
          "vmgenid_add",
          "virtballoon_probe",
          "page_reporting_register",
          "virtio_pmem_probe",
          "virtnet_probe",
          // Hyper-V's
          "vmbus_sendpacket",
          "storvsc_probe",
          "netvsc_probe",
          "hvs_probe",
          "balloon_probe",
          "util_probe");

  private static final String INTERFACES =
      """
      /bin/ip link set lo up
      for kind in bridge dummy wireguard; do /bin/ip link add $kind type $kind; done
      /bin/ip tuntap add dev tun mode tun
      /bin/ip tuntap add dev tap mode tap
      /bin/ip link add pair type veth peer name other
      /bin/ip link add link dummy name vlan type vlan id 7
      /bin/ip link add link dummy name macvlan type macvlan
      /bin/ip link add link pair name ipvlan type ipvlan
      /bin/ip link set other master bridge
      for device in bridge dummy wireguard tun tap pair other vlan macvlan ipvlan; do
        /bin/ip link set $device up
      done
      /bin/ip rule add fwmark 1 lookup 100
      /bin/ip -6 rule add fwmark 1 lookup 100
      for queue in fq fq_codel prio "netem delay 1ms loss 1%" "tbf rate 1mbit burst 10k limit 10k"; do
        /bin/tc qdisc replace dev dummy root $queue
      done
      /bin/tc qdisc replace dev dummy root handle 1: htb
      /bin/tc class add dev dummy parent 1: classid 1:1 htb rate 1mbit
      /bin/tc filter add dev dummy parent 1: u32 match ip dport 80 0xffff flowid 1:1
      """;

  /** Each kind of expression of nftables, then iptables by way of it and by itself. */
  private static final String RULES =
      """
      export XTABLES_LOCKFILE=/tmp/xtables.lock
      /bin/ip link set lo up
      nft -f - <<END
      table inet test {
        set ports { type inet_service; flags interval; elements = { 1-1023 } }
        counter seen { }
        chain input {
          type filter hook input priority filter;
          icmp type echo-request counter name seen
          ct state established,related accept
          ct mark set meta mark
          ct count over 20 drop
          tcp dport @ports limit rate 5/second log prefix "seen " reject with tcp reset
          udp dport 53 log group 3
          quota over 10 mbytes drop
          fib daddr type local counter
          socket transparent 1 meta mark set 1
        }
        chain prerouting {
          type nat hook prerouting priority dstnat;
          tcp dport 80 redirect to :8080
          tcp dport 81 dnat ip to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
          tcp dport 82 dnat ip to jhash ip saddr mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
        }
        chain postrouting {
          type nat hook postrouting priority srcnat;
          oifname != "lo" masquerade
        }
        chain proxy {
          type filter hook prerouting priority mangle;
          meta l4proto tcp tproxy ip to 127.0.0.1:1234
        }
      }
      END
      busybox ping -c 1 127.0.0.1 >/tmp/ping
      nft list counter inet test seen | busybox grep -q "packets 1 "
      nft flush ruleset
      for tables in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do
        $tables -A INPUT -m conntrack --ctstate NEW -m comment --comment it -j LOG
        $tables -A INPUT -p tcp -m multiport --dports 1,2 -m state --state NEW -j REJECT
        $tables -A INPUT -m limit --limit 5/s -m addrtype --dst-type LOCAL -j ACCEPT
        $tables -A INPUT -m hashlimit --hashlimit-upto 5/s --hashlimit-name it -j ACCEPT
        $tables -A INPUT -m recent --set -m mark --mark 1 -m connmark --mark 1 -j ACCEPT
        $tables -A OUTPUT -m owner --uid-owner 0 -m statistic --mode random --probability 0.5
        $tables -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
        $tables -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 8080
        $tables -t nat -A OUTPUT -p tcp --dport 81 -j DNAT --to-destination :8080
        $tables -t nat -A POSTROUTING ! -o lo -j MASQUERADE
        $tables -t mangle -A PREROUTING -m socket -j MARK --set-mark 1
        $tables -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 1234
        $tables -t mangle -A PREROUTING -j CONNMARK --save-mark
        $tables -t raw -A OUTPUT -j ACCEPT
      done
      iptables-nft -t nat -A PREROUTING -d 10.0.0.0/24 -j NETMAP --to 10.0.1.0/24
      busybox ping -c 1 127.0.0.1 >/tmp/ping
      """;

  private static final String SYSTEM_CALLS =
      """
      mkdir /tmp/fuse
      exec perl - <<'END'
      sub call { my $result = syscall($_[0], @_[1..$#_]); die "system call $_[0]: $!" if $result < 0; $result }
      print "landlock ", call(444, 0, 0, 1), "\\n"; # landlock_create_ruleset's ABI
      # A filter: load the number; where it is getppid's, fail with errno 42, else allow.
      my $filter = pack "(SCCL)4", 0x20, 0, 0, 0, 0x15, 0, 1, 110, 6, 0, 0, 0x5002a, 6, 0, 0, 0x7fff0000;
      call(157, 38, 1, 0, 0, 0); # prctl(PR_SET_NO_NEW_PRIVS)
      call(317, 1, 0, pack "Sx6P", 4, $filter);
      syscall(110);
      print "seccomp ", 0 + $!, "\\n";
      my $parameters = "\\0" x 120;
      call(425, 4, $parameters);
      print "io_uring\\n";
      open my $fuse, "+<", "/dev/fuse" or die "/dev/fuse: $!";
      my ($type, $where) = ("fuse", "/tmp/fuse");
      my $options = "fd=" . fileno($fuse) . ",rootmode=40000,user_id=0,group_id=0";
      call(165, $type, $where, $type, 0, $options);
      print "fuse\\n";
      END
      """;

  private static final String CORE_DUMP =
      """
      cd /tmp
      ulimit -c unlimited
      sh -c 'kill -SEGV $$' || true
      head -c 4 core | tr -d '\\177'
      echo
      """;

  private static ImageRef programs;

  @BeforeAll
  static void makeTheImage(@TempDir Path directory) throws IOException {
    programs = TestImages.busybox(directory, PROGRAMS);
  }

  @ParameterizedTest
  @ValueSource(strings = {"nacelle:6.1", "default"})
  void hasWhatAWorkloadAsksForIn64MiB(String kernel, @TempDir Path directory) throws IOException {
    ImageRef image = TestImages.busybox(directory);
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(image)
            .kernel(kernel)
            .memory(DataSize.mebibytes(64))
            .startTimeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      KernelRef booted = sandbox.info().kernel();
      String expected = kernel.equals("default") ? "nacelle:6.12" : kernel;
      assertTrue(booted.toString().startsWith(expected + "@sha256:"), booted::toString);
      assertEquals(TestKernels.store().resolve(booted).version(), output(sandbox, "uname -r"));

      String filesystems = output(sandbox, "cat /proc/filesystems");
      for (String name : List.of("ext4", "erofs", "overlay", "tmpfs", "cgroup2", "hugetlbfs")) {
        assertTrue(filesystems.contains("\t" + name), filesystems);
      }
      String controllers = output(sandbox, "cat /proc/cgroups");
      for (String name :
          List.of(
              "cpuset",
              "cpu",
              "blkio",
              "memory",
              "hugetlb",
              "pids",
              "rdma",
              "misc",
              "perf_event")) {
        assertTrue(controllers.contains("\n" + name + "\t"), controllers);
      }
      assertEquals(
          "cgroup ipc mnt net pid pid_for_children time time_for_children user uts",
          output(sandbox, "cd /proc/self/ns; echo *"));
      String devices = output(sandbox, "cat /proc/misc");
      assertTrue(devices.contains("tun"), devices);
      assertEquals("no modules", output(sandbox, "[ -e /proc/modules ] || echo no modules"));

      byte[] packed = sandbox.exec("cat", "/proc/config.gz").stdout().bytes();
      assertEquals(
          TestKernels.store().resolve(booted).config().orElseThrow().text(),
          new String(
              new GZIPInputStream(new ByteArrayInputStream(packed)).readAllBytes(),
              StandardCharsets.UTF_8));
    }
  }

  /**
   * By root in namespaces of its own, which is as far as a workload without a filter gets: the
   * programs that containers bring along, and what has no program by system calls.
   */
  @ParameterizedTest
  @CsvSource({"nacelle:6.1, 2", "nacelle:6.12, 6"})
  void doesWhatContainersAskOfIt(String kernel, int landlock) {
    SandboxSpec spec =
        SandboxSpec.builder()
            .image(programs)
            .kernel(kernel)
            .user("0")
            .security(ProcessSecurity.builder().seccomp(SeccompProfile.UNCONFINED).build())
            .memory(DataSize.mebibytes(96))
            .startTimeout(Duration.ofMinutes(8))
            .build();
    try (Nacelle nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
        Sandbox sandbox = nacelle.start(spec)) {
      isolated(sandbox, INTERFACES);
      isolated(sandbox, RULES);
      assertEquals(
          "landlock %d\nseccomp 42\nio_uring\nfuse\n".formatted(landlock),
          isolated(sandbox, SYSTEM_CALLS));
      assertEquals("ELF\n", isolated(sandbox, CORE_DUMP));
      assertTrue(isolated(sandbox, "cat /proc/pressure/memory").startsWith("some avg10="));
      assertTrue(isolated(sandbox, "cat /proc/self/io").startsWith("rchar: "));
      assertTrue(
          isolated(sandbox, "cat /proc/self/maps")
              .lines()
              .anyMatch(line -> line.contains(" --xp ") && line.endsWith("[vsyscall]")));
      if (kernel.equals("nacelle:6.12")) {
        isolated(sandbox, "mkdir /tmp/m; mount -t binfmt_misc none /tmp/m; cat /tmp/m/status");
      }
      List<String> symbols =
          isolated(sandbox, "cat /proc/kallsyms").lines().map(line -> line.split(" ")[2]).toList();
      for (String driver : DRIVERS) {
        assertTrue(symbols.contains(driver), driver);
      }
    }
  }

  private static String isolated(Sandbox sandbox, String script) {
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("busybox", "unshare", "-Urmn", "sh", "-eux")
                .stdin(script.getBytes(StandardCharsets.UTF_8))
                .build());
    assertEquals(0, result.exitCode(), () -> result.stderr().text());
    return result.stdout().text();
  }

  private static String output(Sandbox sandbox, String script) {
    ExecResult result = sandbox.exec("sh", "-c", script);
    assertEquals("", result.stderr().text());
    return result.stdout().text().strip();
  }
}
