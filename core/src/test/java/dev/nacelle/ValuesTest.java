// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.HostCheck.Finding;
import dev.nacelle.files.FileInfo;
import dev.nacelle.files.FileType;
import dev.nacelle.files.TransferProgress;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.image.Digest;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.Platform;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Transport;
import dev.nacelle.spi.VmSpec;
import java.net.InetAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Values that say the same are equal, and everything that they say counts. */
class ValuesTest {
  private static final ImageRef IMAGE = ImageRef.parse("oci:/a");
  private static final ImageRef OTHER_IMAGE = ImageRef.parse("oci:/b");
  private static final KernelRef KERNEL = KernelRef.nacelle("6.1");
  private static final KernelRef OTHER_KERNEL = KernelRef.nacelle("6.12");
  private static final Digest DIGEST = Digest.parse("sha256:" + "0".repeat(64));
  private static final Digest OTHER_DIGEST = Digest.parse("sha256:" + "1".repeat(64));
  private static final DataSize ONE = DataSize.bytes(1);
  private static final DataSize TWO = DataSize.bytes(2);

  /**
   * @param others each differs from the value in one thing
   */
  private static void check(Supplier<?> value, Object... others) {
    assertEquals(value.get(), value.get());
    assertEquals(value.get().hashCode(), value.get().hashCode());
    for (Object other : others) {
      assertNotEquals(value.get(), other);
      assertNotEquals(value.get().hashCode(), other.hashCode(), other::toString);
    }
  }

  @Test
  void timelines() {
    Duration start = Duration.ofMillis(1);
    check(
        () -> BootTimeline.of(List.of(BootTimeline.Entry.of(Stage.BOOT, start, start))),
        BootTimeline.of(List.of()));
  }

  private static GuestProcessInfo.Builder process() {
    return GuestProcessInfo.builder(1, "a");
  }

  @Test
  void processes() {
    check(
        () -> process().build(),
        GuestProcessInfo.builder(2, "a").build(),
        GuestProcessInfo.builder(1, "b").build(),
        process().pid(1).build(),
        process().running(false).build(),
        process().startedAt(Instant.MAX).build(),
        process().treeSize(2).build());
  }

  @Test
  void guestStatistics() {
    Duration up = Duration.ofMillis(7);
    Pressure.Stall stall = Pressure.Stall.of(1, 2, up);
    Pressure pressure = Pressure.of(stall, null);
    DiskUse disk = DiskUse.of(ONE, TWO, 3, 4);
    check(
        () -> Pressure.of(stall, stall), pressure, Pressure.of(Pressure.Stall.of(2, 2, up), stall));
    check(
        () -> stall,
        Pressure.Stall.of(2, 2, up),
        Pressure.Stall.of(1, 1, up),
        Pressure.Stall.of(1, 2, Duration.ZERO));
    check(
        () -> DiskUse.of(ONE, TWO, 3, 4),
        DiskUse.of(TWO, TWO, 3, 4),
        DiskUse.of(ONE, ONE, 3, 4),
        DiskUse.of(ONE, TWO, 4, 4),
        DiskUse.of(ONE, TWO, 3, 3));
    Supplier<GuestStatistics.Builder> statistics = () -> GuestStatistics.builder(up);
    check(
        () -> statistics.get().build(),
        GuestStatistics.builder(Duration.ZERO).build(),
        statistics.get().memory(ONE).build(),
        statistics.get().memoryPeak(ONE).build(),
        statistics.get().memoryLimit(ONE).build(),
        statistics.get().anonymousMemory(ONE).build(),
        statistics.get().fileMemory(ONE).build(),
        statistics.get().kernelMemory(ONE).build(),
        statistics.get().oomKills(1L).build(),
        statistics.get().cpuTime(up).build(),
        statistics.get().userCpuTime(up).build(),
        statistics.get().systemCpuTime(up).build(),
        statistics.get().throttledTime(up).build(),
        statistics.get().imageDisk(disk).build(),
        statistics.get().scratchDisk(disk).build(),
        statistics.get().processes(1L).build(),
        statistics.get().processPeak(1L).build(),
        statistics.get().processLimit(1L).build(),
        statistics.get().cpuPressure(pressure).build(),
        statistics.get().memoryPressure(pressure).build(),
        statistics.get().ioPressure(pressure).build(),
        statistics.get().availableMemory(ONE).build(),
        statistics.get().load(1.0).build());
  }

  @Test
  void hostChecks() {
    Finding finding = Finding.warning("a", "b", "C.");
    check(
        () -> Finding.warning("a", "b", "C."),
        Finding.passed("a", "b"),
        Finding.failed("a", "b", "C."),
        Finding.warning("x", "b", "C."),
        Finding.warning("a", "x", "C."),
        Finding.warning("a", "b", "X."),
        finding.about(HostCheck.Ability.UNIKERNELS));
    check(
        () -> HostCheck.of("a", List.of(Finding.warning("a", "b", "C."))),
        HostCheck.of("b", List.of(finding)),
        HostCheck.of("a", List.of()));
  }

  private static LayerProgress layer(
      ImageRef image, Digest layer, int number, int layers, FetchProgress.State state) {
    return LayerProgress.of(image, layer, number, layers, state, ONE, ONE);
  }

  @Test
  void progress() {
    FetchProgress.State state = FetchProgress.State.DONE;
    FetchProgress.State other = FetchProgress.State.RETRYING;
    check(
        () -> layer(IMAGE, DIGEST, 1, 1, state),
        layer(OTHER_IMAGE, DIGEST, 1, 1, state),
        layer(IMAGE, OTHER_DIGEST, 1, 1, state),
        layer(IMAGE, DIGEST, 2, 1, state),
        layer(IMAGE, DIGEST, 1, 2, state),
        layer(IMAGE, DIGEST, 1, 1, other),
        LayerProgress.of(IMAGE, DIGEST, 1, 1, state, TWO, ONE),
        LayerProgress.of(IMAGE, DIGEST, 1, 1, state, ONE, TWO));
    check(
        () -> PackageProgress.of(KERNEL, "a", DIGEST, state, ONE, ONE),
        PackageProgress.of(OTHER_KERNEL, "a", DIGEST, state, ONE, ONE),
        PackageProgress.of(KERNEL, "b", DIGEST, state, ONE, ONE),
        PackageProgress.of(KERNEL, "a", OTHER_DIGEST, state, ONE, ONE),
        PackageProgress.of(KERNEL, "a", DIGEST, other, ONE, ONE),
        PackageProgress.of(KERNEL, "a", DIGEST, state, TWO, ONE),
        PackageProgress.of(KERNEL, "a", DIGEST, state, ONE, TWO),
        PackageProgress.of(KERNEL, "a", DIGEST, state, ONE));
  }

  private static FileInfo.Builder file() {
    return FileInfo.builder("a");
  }

  @Test
  void files() {
    check(
        () -> file().build(),
        FileInfo.builder("b").build(),
        file().type(FileType.DIRECTORY).build(),
        file().permissions(0).build(),
        file().owner(1, 0).build(),
        file().owner(0, 1).build(),
        file().size(1, 0).build(),
        file().size(0, 1).build(),
        file().links(2).build(),
        file().modified(Instant.MAX).build(),
        file().linkTarget("b").build());
    check(
        () -> WriteOptions.builder().build(),
        WriteOptions.builder().existing(WriteOptions.Existing.FAIL).build(),
        WriteOptions.builder().atomic(true).build(),
        WriteOptions.builder().permissions(0).build(),
        WriteOptions.builder().owner(0, 0).build());
    assertEquals(
        WriteOptions.builder().atomic(true).permissions(1).owner(2, 3).build(),
        WriteOptions.builder().atomic(true).permissions(1).owner(2, 3).build().toBuilder().build());
    check(
        () -> TransferProgress.of("a", 1, 1, 1),
        TransferProgress.of("b", 1, 1, 1),
        TransferProgress.of("a", 2, 1, 1),
        TransferProgress.of("a", 1, 2, 1),
        TransferProgress.of("a", 1, 1, -1));
    check(
        () -> TreeCopy.of(1, 1, 1, List.of()),
        TreeCopy.of(2, 1, 1, List.of()),
        TreeCopy.of(1, 2, 1, List.of()),
        TreeCopy.of(1, 1, 2, List.of()),
        TreeCopy.of(1, 1, 1, List.of("a")));
  }

  @Test
  void pruning() {
    List<PruneResult.Removed> removed =
        List.of(PruneResult.Removed.of(PruneResult.Kind.BLOB, "a", ONE));
    check(
        () -> PruneResult.of(removed, ONE, ONE, false),
        PruneResult.of(List.of(), ONE, ONE, false),
        PruneResult.of(removed, TWO, ONE, false),
        PruneResult.of(removed, ONE, TWO, false),
        PruneResult.of(removed, ONE, ONE, true));
  }

  private static SandboxInfo.Builder sandbox() {
    return SandboxInfo.builder("a", IMAGE, DIGEST, KERNEL);
  }

  @Test
  void sandboxes() {
    check(
        () -> sandbox().build(),
        SandboxInfo.builder("b", IMAGE, DIGEST, KERNEL).build(),
        SandboxInfo.builder("a", OTHER_IMAGE, DIGEST, KERNEL).build(),
        SandboxInfo.builder("a", IMAGE, OTHER_DIGEST, KERNEL).build(),
        SandboxInfo.builder("a", IMAGE, DIGEST, OTHER_KERNEL).build(),
        sandbox().labels(Map.of("a", "b")).build(),
        sandbox().imageConfig(ImageConfig.builder(Platform.LINUX_AMD64).user("a").build()).build(),
        sandbox().booted("a", "").build(),
        sandbox().booted("", "a").build(),
        sandbox().uname("a", "", "").build(),
        sandbox().uname("", "a", "").build(),
        sandbox().uname("", "", "a").build(),
        sandbox().agentVersion("a").build(),
        sandbox().memory(ONE).build(),
        sandbox().cpus(2).build());
  }

  @Test
  void ends() {
    check(
        () -> UnikernelExit.of(VmExit.exited(1, "a"), false, "a"),
        UnikernelExit.of(VmExit.exited(2, "a"), false, "a"),
        UnikernelExit.of(VmExit.exited(1, "a"), true, "a"),
        UnikernelExit.of(VmExit.exited(1, "a"), false, "b"));
    check(
        () -> ExitStatus.of(Signal.KILL),
        ExitStatus.of(137),
        ExitStatus.of(Signal.TERM),
        ExitStatus.of(Signal.KILL).toBuilder().treePeakMemory(ONE).build());
    ExitStatus known = ExitStatus.builder(137).signal(Signal.KILL).treePeakMemory(ONE).build();
    assertEquals(ExitStatus.of(137), known.toBuilder().signal(null).treePeakMemory(null).build());
  }

  @Test
  void statistics() {
    Map<String, Long> one = Map.of("a", 1L);
    check(
        () -> VmStatistics.of(1, one, one),
        VmStatistics.of(one, one),
        VmStatistics.of(2, one, one),
        VmStatistics.of(1, Map.of(), one),
        VmStatistics.of(1, one, Map.of()),
        VmStatistics.of(1, one, one).withCpuTime(Duration.ofMillis(7)),
        VmStatistics.of(1, one, one).withMemory(ONE),
        VmStatistics.of(1, one, one).withDisks(Map.of("a", DiskUse.of(ONE, ONE, 1, 1))));
    NetworkUse.Traffic some = NetworkUse.Traffic.of(ONE, 1, 1, 1);
    check(
        () -> NetworkUse.of(some, some),
        NetworkUse.of(NetworkUse.Traffic.of(DataSize.bytes(2), 1, 1, 1), some),
        NetworkUse.of(NetworkUse.Traffic.of(ONE, 2, 1, 1), some),
        NetworkUse.of(NetworkUse.Traffic.of(ONE, 1, 2, 1), some),
        NetworkUse.of(NetworkUse.Traffic.of(ONE, 1, 1, 2), some),
        NetworkUse.of(some, NetworkUse.Traffic.of(ONE, 1, 2, 1)));
  }

  @Test
  void networks() {
    InetAddress address = InetAddress.getLoopbackAddress();
    check(
        () -> PublishedPort.tcp(1),
        PublishedPort.tcp(2),
        PublishedPort.udp(1),
        PublishedPort.tcp(1).onHostPort(2),
        PublishedPort.tcp(1).onAddress(address),
        PublishedPort.tcp(1).keepPeerAddress(true));
    check(
        () -> Egress.https("a"),
        Egress.https("b"),
        Egress.http("a"),
        Egress.https("a").onPort(1),
        Egress.https("a").mayBePrivate(),
        Egress.https("a").mayHideName(),
        Egress.https("a").named("a"),
        Egress.internet());
    check(
        () -> Egress.addresses("1.2.3.4"),
        Egress.addresses("1.2.3.5"),
        Egress.addresses("1.2.3.4").tcp(1),
        Egress.addresses("1.2.3.4").udp(1),
        Egress.addresses("1.2.3.4").named("a"));
    check(() -> Egress.internet().named("a"), Egress.internet(), Egress.internet().named("b"));
    Map<String, NetworkStatistics.RuleUse> rules =
        Map.of("a", new NetworkStatistics.RuleUse(1, 2, 3));
    check(
        () -> NetworkStatistics.builder().build(),
        NetworkStatistics.builder().sent(1).build(),
        NetworkStatistics.builder().received(1).build(),
        NetworkStatistics.builder().opened(1).build(),
        NetworkStatistics.builder().openFlows(1).build(),
        NetworkStatistics.builder().openUdpSessions(1).build(),
        NetworkStatistics.builder().failed(1).build(),
        NetworkStatistics.builder().denied(Map.of(DenialReason.FLOOR, 1L)).build(),
        NetworkStatistics.builder().dnsQueries(1).build(),
        NetworkStatistics.builder().dnsDenied(Map.of(DenialReason.FLOOR, 1L)).build(),
        NetworkStatistics.builder().datagramsDropped(1).build(),
        NetworkStatistics.builder().eventsLost(1).build(),
        NetworkStatistics.builder().linksLost(1).build(),
        NetworkStatistics.builder().rules(rules).build());
  }

  @Test
  void whatEventsHoldIsTheirOwn() {
    List<String> names = new ArrayList<>(List.of("a.example"));
    List<InetAddress> addresses = new ArrayList<>(List.of(InetAddress.getLoopbackAddress()));
    NetworkEvent.Flow flow =
        new NetworkEvent.Flow(
            1, Transport.TCP, NetworkEvent.Direction.OUTBOUND, addresses.get(0), 443, 0);
    NetworkEvent.FlowAllowed allowed =
        new NetworkEvent.FlowAllowed("a", Instant.EPOCH, flow, "a rule", names);
    NetworkEvent.FlowDenied denied =
        new NetworkEvent.FlowDenied(
            "a", Instant.EPOCH, flow, DenialReason.SNI_MISMATCH, "a rule", names, "b.example");
    NetworkEvent.NameResolved resolved =
        new NetworkEvent.NameResolved("a", Instant.EPOCH, "a.example", addresses);
    names.clear();
    addresses.clear();
    assertEquals(List.of("a.example"), allowed.names());
    assertEquals(List.of("a.example"), denied.names());
    assertEquals(1, resolved.addresses().size());
  }

  @Test
  void partsOfMachines() {
    Path file = Path.of("a");
    check(
        () -> VmSpec.Bare.of(file, "a"),
        VmSpec.Bare.of(Path.of("b"), "a"),
        VmSpec.Bare.of(file, "b"));
    check(
        () -> VmSpec.Disk.of("a", file, true),
        VmSpec.Disk.of("b", file, true),
        VmSpec.Disk.of("a", Path.of("b"), true),
        VmSpec.Disk.of("a", file, false));
  }

  @Test
  void platforms() {
    check(
        () -> Platform.of("linux", "arm"),
        Platform.of("darwin", "arm"),
        Platform.of("linux", "amd64"),
        Platform.of("linux", "arm", "v6"));
  }

  @Test
  void nullIsRefusedWhereItIsGiven() {
    ExitStatus.Builder status = ExitStatus.builder(0);
    List<Executable> calls =
        List.of(
            () -> status.userCpu(null),
            () -> status.systemCpu(null),
            () -> status.peakMemory(null),
            () -> new NacelleException(null, "a", null, null),
            () -> new NacelleException(Stage.RUN, null, null, null),
            () -> new BootException(Stage.BOOT, "a", null, null, null, false, null),
            () -> new ProcessException(null, "a", null, null),
            () -> new ProcessException("a", null));
    calls.forEach(call -> assertThrows(NullPointerException.class, call));
  }
}
