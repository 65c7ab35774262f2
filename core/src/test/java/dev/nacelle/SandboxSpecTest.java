// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static dev.nacelle.Refusals.assertRefused;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkListener;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.net.InetAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SandboxSpecTest {
  private static final ProcessSecurity WITHOUT =
      ProcessSecurity.builder().noNewPrivileges(true).build();

  private static SandboxSpec.Builder spec() {
    return SandboxSpec.builder().image("oci:/image");
  }

  @Test
  void everySettingCountsIsCopiedAndCanBeTakenBack() throws Exception {
    new SpecContract(SandboxSpec.class, () -> spec().network(NetworkPolicy.internal()))
        .with("image", 0, "oci:/a", "oci:/b")
        .with("image", 0, ImageRef.parse("oci:/c"), ImageRef.parse("oci:/d"))
        .with("kernel", 0, "debian:6.1", "debian:6.12")
        .with("kernel", 0, KernelRef.nacelle("6.1"), KernelRef.nacelle("6.12"))
        .with("memory", 0, DataSize.mebibytes(300), DataSize.mebibytes(301))
        .with(
            "container",
            0,
            ContainerSpec.builder().readOnlyRoot(true).build(),
            ContainerSpec.builder().imageNames(true).build())
        .with("rateLimits", 0, limited(1), limited(2))
        .with("sysctl", 0, "net.core.somaxconn", "vm.swappiness")
        .with("sysctls", 0, Map.of("net.core.somaxconn", "c"), Map.of("vm.swappiness", "d"))
        .with("workingDirectory", 0, "/a", "/b")
        .with(
            "writableLayer",
            0,
            WritableLayer.inMemory(DataSize.mebibytes(17)),
            WritableLayer.onDisk(DataSize.mebibytes(17)))
        .with("dataDisk", 0, "/a", "/b")
        .with(
            "dataDisk",
            1,
            DataDisk.empty(DataSize.mebibytes(17)),
            DataDisk.of(Path.of("a")).readOnly())
        .with(
            "dataDisks",
            0,
            Map.of("/a", DataDisk.of(Path.of("a"))),
            Map.of("/b", DataDisk.of(Path.of("a")).withFreeSpace(DataSize.mebibytes(1))))
        .with("removeDataDisk", 0, "/a", "/b")
        .with("security", 0, ProcessSecurity.PRIVILEGED, WITHOUT)
        .with("network", 0, NetworkPolicy.internet(), allowing("192.0.2.0/24"))
        .with(
            "publish",
            0,
            new PublishedPort[] {PublishedPort.tcp(1)},
            new PublishedPort[] {PublishedPort.tcp(2)})
        .with("publish", 0, List.of(PublishedPort.udp(3)), List.of(PublishedPort.udp(4)))
        .with("networkListener", 0, listener(), listener())
        .check();
  }

  private static RateLimits limited(long operations) {
    return RateLimits.NONE.withDisks(RateLimit.operations(operations));
  }

  private static NetworkPolicy allowing(String block) {
    return NetworkPolicy.builder().allow(Egress.addresses(block)).build();
  }

  private static NetworkListener listener() {
    return new NetworkListener() {
      @Override
      public void onEvent(NetworkEvent event) {}
    };
  }

  @Test
  void portsArePublishedWithANetworkAlone() {
    assertRefused(
        "ports are published, but there is no network: give the sandbox one, such as"
            + " NetworkPolicy.internal(), which leads nowhere",
        () -> spec().publish(PublishedPort.tcp(80)).build());
    SandboxSpec.Builder spec = spec().network(NetworkPolicy.internal());
    for (int port = 1; port <= 257; port++) {
      spec.publish(PublishedPort.tcp(port));
    }
    assertRefused("a sandbox may publish 256 ports, not 257", spec::build);
    spec.removePublished(PublishedPort.tcp(257)).build();
  }

  @Test
  void whatTwoPublishedPortsCannotShareIsRefused() throws Exception {
    PublishedPort eighty = PublishedPort.tcp(80).onHostPort(8080);
    InetAddress localhost = InetAddress.getByName("127.0.0.1");
    InetAddress all = InetAddress.getByName("0.0.0.0");
    InetAddress allOfBoth = InetAddress.getByName("::");
    SandboxSpec.Builder spec = spec().network(NetworkPolicy.internal()).publish(eighty, eighty);
    assertEquals(Set.of(eighty), spec.build().published());
    assertRefused(
        "the port 80/TCP is published twice",
        () ->
            spec()
                .network(NetworkPolicy.internal())
                .publish(eighty, PublishedPort.tcp(80))
                .build());
    for (InetAddress address : List.of(localhost, all, allOfBoth)) {
      PublishedPort other = PublishedPort.tcp(81).onHostPort(8080).onAddress(address);
      for (List<PublishedPort> both : List.of(List.of(eighty, other), List.of(other, eighty))) {
        assertRefused(
            "two ports are published on one of the host's: " + both.get(0) + "; " + both.get(1),
            () -> spec().network(NetworkPolicy.internal()).publish(both).build());
      }
    }
    for (PublishedPort other :
        List.of(
            PublishedPort.udp(80).onHostPort(8080),
            PublishedPort.tcp(81).onHostPort(8080).onAddress(InetAddress.getByName("127.0.0.2")),
            PublishedPort.tcp(81).onHostPort(8080).onAddress(InetAddress.getByName("::1")),
            PublishedPort.tcp(81))) {
      spec().network(NetworkPolicy.internal()).publish(eighty, other).build();
    }
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
    assertRefused(
        "the variable TOKEN holds a NUL, at index 6",
        () -> spec().environment("TOKEN", "s3cret\0"));
    assertFalse(spec().environment("TOKEN", "s3cret").build().toString().contains("s3cret"));
  }

  @Test
  void whatNoMachineCanMeetIsRefused() {
    SandboxSpec.Builder spec = spec();
    assertRefused("a sandbox has 1 to 255 vCPUs, not 0", () -> spec.cpus(0));
    assertRefused("a sandbox has 1 to 255 vCPUs, not 256", () -> spec.cpus(256));
    assertRefused(
        "a sandbox needs at least 32MiB of memory, not 31MiB",
        () -> spec.memory(DataSize.mebibytes(31)));
    assertRefused(
        "no machine has 9223372036854775807B of memory",
        () -> spec.memory(DataSize.bytes(Long.MAX_VALUE)));
    assertRefused("a sandbox may have 1 to 4194304 processes, not 0", () -> spec.pidsLimit(0));
    assertRefused(
        "a sandbox may have 1 to 4194304 processes, not 4194305", () -> spec.pidsLimit(4194305L));
    assertRefused("a sandbox needs an image", () -> SandboxSpec.builder().build());
    assertRefused(
        "a sandbox needs an image",
        () -> SandboxSpec.builder().kernel(KernelRef.file(Path.of("/k"))).build());
  }

  @Test
  void timesThatCannotBeKeptAreRefused() {
    SandboxSpec.Builder spec = spec();
    Map<String, Function<Duration, SandboxSpec.Builder>> setters =
        Map.of(
            "start timeout", spec::startTimeout,
            "fetch timeout", spec::fetchTimeout,
            "idle timeout", spec::idleTimeout,
            "lifetime", spec::maxLifetime);
    Duration tooLong = Duration.ofDays(36_525).plusNanos(1);
    setters.forEach(
        (name, setter) -> {
          for (Duration time : List.of(Duration.ZERO, Duration.ofNanos(-1), tooLong)) {
            assertRefused(
                "the " + name + " is not between 1 ns and 100 years: " + time,
                () -> setter.apply(time));
          }
        });
    for (Duration time : List.of(Duration.ofNanos(-1), tooLong)) {
      assertRefused(
          "the grace is not between 0 and 100 years: " + time, () -> spec.stopGrace(time));
    }
  }

  @Test
  void whatIsNoNameIsRefused() {
    SandboxSpec.Builder spec = spec();
    for (String name : List.of("", "a b", "n".repeat(65))) {
      assertRefused(
          "a sandbox's name is 1 to 64 characters of [A-Za-z0-9._-], not '" + name + "'",
          () -> spec.name(name));
      assertRefused(
          "a host name is 1 to 64 characters of [A-Za-z0-9.-], not '" + name + "'",
          () -> spec.hostname(name));
    }
    assertRefused(
        "not the name of an environment variable: 'A=B'", () -> spec.environment("A=B", ""));
    assertRefused("not the name of an environment variable: ''", () -> spec.environment("", ""));
    assertRefused("the variable's name holds a NUL, at index 1", () -> spec.environment("A\0", ""));
    assertRefused("the variable A holds a NUL, at index 0", () -> spec.environment("A", "\0"));
    for (String module : List.of("", "../tun", "m".repeat(56))) {
      assertRefused(
          "a kernel module's name is 1 to 55 characters of [A-Za-z0-9_-], without .ko, not '"
              + module
              + "'",
          () -> spec.kernelModules("tun", module));
    }
    List<String> many = IntStream.range(0, 65).mapToObj(i -> "m" + i).toList();
    assertRefused(
        "a sandbox may ask for 64 kernel modules, not more", () -> spec().kernelModules(many));
    spec().kernelModules(many.subList(1, 65)).build();
  }

  @Test
  void whatAProcessCannotBeGivenIsRefused() {
    String path = "/" + "x".repeat(4095);
    assertRefused(
        "the working directory has 4096 bytes, more than 4095",
        () -> spec().workingDirectory(path));
    assertRefused(
        "the working directory is not absolute: 'srv'", () -> spec().workingDirectory("srv"));
    assertRefused("the user has 513 bytes, more than 512", () -> spec().user("u".repeat(513)));
    SandboxSpec.Builder lost = spec().environment("PATH", ":".repeat(256));
    assertRefused("the variable PATH has more than 256 directories", lost::build);
    SandboxSpec.Builder large = spec().entrypoint("true").command("x".repeat(128 << 10));
    assertRefused("the argument has 131072 bytes, more than 131071", large::build);
  }

  @Test
  void sharedMemoryIsAtMostHalfOfTheMemory() {
    SandboxSpec.Builder spec = spec().memory(DataSize.mebibytes(100));
    spec.sharedMemory(DataSize.mebibytes(50)).build();
    spec.sharedMemory(DataSize.mebibytes(51));
    assertRefused(
        "shared memory of 51MiB is more than half of the memory, which is 100MiB: give the sandbox"
            + " more memory, or a disk",
        spec::build);
    assertRefused("the shared memory is zero", () -> spec.sharedMemory(DataSize.bytes(0)));
  }

  /** By calls of a program: whether null is ambiguous only a compiler knows. */
  @Test
  void whatIsOptionalIsTakenBack() {
    SandboxSpec plain = spec().build();
    SandboxSpec full =
        spec()
            .name("a")
            .sharedMemory(DataSize.mebibytes(1))
            .pidsLimit(7)
            .maxLifetime(Duration.ofHours(1))
            .idleTimeout(Duration.ofHours(1))
            .hostname("a")
            .user("a")
            .workingDirectory("/a")
            .pullPolicy(PullPolicy.NEVER)
            .entrypoint("a")
            .command("a")
            .stopSignal(Signal.QUIT)
            .build();
    assertNotEquals(plain, full);
    SandboxSpec takenBack =
        full.toBuilder()
            .name(null)
            .sharedMemory(null)
            .removePidsLimit()
            .maxLifetime(null)
            .idleTimeout(null)
            .hostname(null)
            .user(null)
            .workingDirectory(null)
            .pullPolicy(null)
            .removeEntrypoint()
            .removeCommand()
            .stopSignal(null)
            .build();
    assertEquals(plain, takenBack);
  }

  @Test
  void privilegedIsEverything() {
    SandboxSpec spec = spec().privileged().build();
    assertEquals(ContainerSpec.PRIVILEGED, spec.container());
    assertEquals(ProcessSecurity.PRIVILEGED, spec.security());
    assertEquals(WITHOUT, spec.toBuilder().security(WITHOUT).build().security());
  }
}
