// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static dev.nacelle.fake.FakeHypervisor.DRIVERS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestDriver.Use;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ModuleSelectionTest {
  private static final String RELEASE = "6.1.0-test";
  private static final String MAGIC = "vermagic=" + RELEASE + " SMP preempt mod_unload ";

  private static final GuestRequirement A = requirement("A", "a", true);
  private static final GuestRequirement B = requirement("B", "b", true);

  @TempDir Path directory;

  private final Map<String, byte[]> modules = new LinkedHashMap<>();
  private String builtIn = "";
  private Optional<String> config = Optional.empty();

  @BeforeEach
  void configureModules() {
    config = Optional.of("CONFIG_MODULES=y\n");
  }

  private void module(String path, String... modinfo) {
    List<String> all = new ArrayList<>(List.of(modinfo));
    all.add(MAGIC);
    modules.put(path, TestElf.module(all.toArray(String[]::new)));
  }

  private ResolvedKernel packaged() throws IOException {
    Path zip = Files.createTempFile(directory, "archive", ".zip");
    try (KernelArchive.Writer writer = new KernelArchive.Writer(Files.newOutputStream(zip))) {
      writer.putModuleFile(RELEASE, "modules.builtin", builtIn.getBytes(StandardCharsets.US_ASCII));
      for (Map.Entry<String, byte[]> module : modules.entrySet()) {
        writer.putModuleFile(RELEASE, module.getKey(), module.getValue());
      }
    }
    return kernel(zip);
  }

  private ResolvedKernel bare() {
    return kernel(null);
  }

  private ResolvedKernel kernel(Path archive) {
    return new ResolvedKernel(
        KernelRef.parse("file:/test"),
        "0".repeat(64),
        "file /test",
        new KernelFacts(RELEASE, "#1", "", config.map(KernelConfig::new)),
        directory.resolve("vmlinux"),
        archive);
  }

  private static GuestRequirement requirement(String option, String module, boolean required) {
    return new GuestRequirement(option, module, required, false, "for the test");
  }

  private static List<String> select(ResolvedKernel kernel, GuestRequirement... requirements)
      throws IOException {
    return names(ModuleSelection.select(kernel, List.of(requirements), KernelDemands.NONE));
  }

  private static List<String> names(List<GuestModule> modules) {
    return modules.stream().map(GuestModule::name).toList();
  }

  private static KernelDemands demands(String... modules) {
    return new KernelDemands(List.of(modules), Set.of(), false, false, 1, Map.of());
  }

  private static List<GuestModule> demand(ResolvedKernel kernel, String... modules)
      throws IOException {
    return ModuleSelection.select(kernel, List.of(A), demands(modules));
  }

  private static String refusedDemand(ResolvedKernel kernel, String... modules) {
    KernelException e = assertThrows(KernelException.class, () -> demand(kernel, modules));
    return e.getMessage();
  }

  private static String refusal(ResolvedKernel kernel, GuestRequirement... requirements) {
    KernelException e = assertThrows(KernelException.class, () -> select(kernel, requirements));
    return e.reason() + ": " + e.getMessage();
  }

  @Test
  void aModuleComesAfterWhatItDependsOnAndOnlyOnce() throws IOException {
    module("kernel/a.ko", "depends=c,b-1");
    module("kernel/b-1.ko", "depends=c,d");
    module("kernel/b.ko", "depends=a");
    module("kernel/c.ko", "depends=d");
    module("kernel/d.ko", "depends=");
    module("kernel/unwanted.ko", "depends=");
    assertEquals(List.of("d", "c", "b_1", "a", "b"), select(packaged(), A, B));
  }

  @Test
  void whatIsBuiltInIsNotLoadedAndSatisfiesDependencies() throws IOException {
    builtIn = "kernel/drivers/x-y.ko\nkernel/fs/a.ko\n";
    module("kernel/b.ko", "depends=x_y");
    assertEquals(List.of("b"), select(packaged(), A, B));
  }

  @Test
  void aSoftDependencyIsLoadedWhereItExists() throws IOException {
    builtIn = "kernel/lib/sha_generic.ko\n";
    module("kernel/a.ko", "depends=", "softdep=pre: crypto-crc crypto-sha none c post: b");
    module("kernel/b.ko", "depends=");
    module("kernel/c.ko", "depends=");
    module("kernel/crc_generic.ko", "depends=");
    module("kernel/crc-intel.ko", "depends=", "alias=crc");
    assertEquals(List.of("crc_generic", "c", "a"), select(packaged(), A));
  }

  @Test
  void aSoftDependencyThatCannotBeLoadedIsPassedOverWithAllThatCameWithIt() throws IOException {
    module("kernel/a.ko", "depends=d", "softdep=pre: b");
    module("kernel/b.ko", "depends=c,d,missing");
    module("kernel/c.ko", "depends=");
    module("kernel/d.ko", "depends=");
    assertEquals(List.of("d", "a"), select(packaged(), A));
    assertTrue(refusal(packaged(), B).contains("b depends on missing"));
    module("kernel/b.ko", "depends=c,a");
    assertEquals(List.of("d", "a"), select(packaged(), A));
  }

  @ParameterizedTest
  @CsvSource({".ko.xz, xz --check=crc32", ".ko.gz, gzip -n", ".ko.zst, zstd"})
  void compressedModulesAreUnpacked(String ending, String command) throws IOException {
    byte[] module = TestElf.module("depends=", MAGIC);
    modules.put("kernel/a" + ending, TestTools.pipe(module, command.split(" ")));
    assertEquals(
        List.of("a"), select(packaged(), A), "and what comes out is the module: it has a .modinfo");
  }

  @Test
  void anUpdatedModuleIsPreferred() throws IOException {
    module("kernel/a.ko", "depends=b");
    module("updates/a.ko", "depends=");
    module("kernel/b.ko", "depends=");
    assertEquals(List.of("a"), select(packaged(), A));
  }

  @Test
  void aMissingOptionIsNamed() throws IOException {
    String message = refusal(packaged(), A);
    assertTrue(message.startsWith("LACKS_OPTION: "), message);
    assertTrue(message.contains("it lacks CONFIG_A, needed for the test"), message);
    assertTrue(message.contains("Use a kernel built with CONFIG_A"), message);
  }

  @Test
  void anOptionalRequirementMayBeMissing() throws IOException {
    assertEquals(List.of(), select(packaged(), requirement("A", "a", false)));
  }

  @Test
  void anOptionThatTheConfigurationHasBuiltInIsEnough() throws IOException {
    config = Optional.of("CONFIG_A=y\n# CONFIG_B is not set\n");
    assertEquals(List.of(), select(packaged(), A));
    assertEquals(List.of(), select(bare(), A));
    assertTrue(refusal(bare(), A, B).contains("it lacks CONFIG_B"));
  }

  @Test
  void aModuleThatABareKernelLacksIsExplained() {
    config = Optional.of("CONFIG_A=m\n");
    String message = refusal(bare(), A);
    assertTrue(
        message.contains("it lacks CONFIG_A, needed for the test; it is built as a module"),
        message);
    assertTrue(message.contains("Name the kernel's package"), message);
  }

  @Test
  void aBareKernelThatSaysNothingIsBelievedToHaveAll() throws IOException {
    config = Optional.empty();
    assertEquals(List.of(), select(bare(), A, B));
  }

  @Test
  void aPackageThatListsItsModulesIsBelievedToListThemAll() {
    config = Optional.empty();
    module("kernel/b.ko", "depends=");
    assertThrows(KernelException.class, () -> select(packaged(), A));
  }

  @Test
  void aKernelThatCannotLoadModulesIsRefused() {
    config = Optional.of("# CONFIG_MODULES is not set\n");
    module("kernel/a.ko", "depends=");
    assertThrows(KernelException.class, () -> select(packaged(), A));
  }

  @Test
  void aMissingDependencyIsNamed() throws IOException {
    module("kernel/a.ko", "depends=b");
    module("kernel/b.ko", "depends=gone");
    String message = refusal(packaged(), A);
    assertTrue(message.contains("b depends on gone, which is neither among them"), message);
  }

  @Test
  void aCycleIsShown() throws IOException {
    module("kernel/a.ko", "depends=b");
    module("kernel/b.ko", "depends=c");
    module("kernel/c.ko", "depends=b");
    String message = refusal(packaged(), A);
    assertTrue(message.contains("depend on each other: a -> b -> c -> b"), message);
  }

  @Test
  void aModuleOfAnotherKernelIsRefused() throws IOException {
    modules.put("kernel/a.ko", TestElf.module("depends=", "vermagic=6.2.0 SMP "));
    String message = refusal(packaged(), A);
    assertTrue(
        message.contains("kernel/a.ko was built for kernel 6.2.0, not for 6.1.0-test"), message);
  }

  @Test
  void whatIsNoModuleIsRefused() throws IOException {
    modules.put("kernel/a.ko", TestElf.kernel(RELEASE).build());
    assertTrue(refusal(packaged(), A).contains("is no kernel module: ELF type 2"));
    modules.put("kernel/a.ko", TestElf.of(Elf64.ET_REL).section(".text", new byte[8]).build());
    assertTrue(refusal(packaged(), A).contains("it has no .modinfo"));
    modules.put("kernel/a.ko", new byte[3]);
    assertTrue(refusal(packaged(), A).contains("is no ELF file"));
    byte[] truncated = TestElf.module(MAGIC);
    modules.put("kernel/a.ko", java.util.Arrays.copyOf(truncated, truncated.length - 1));
    assertTrue(refusal(packaged(), A).contains("is truncated"));
  }

  @Test
  void anEmptySectionMayClaimToBeAnywhere() throws IOException {
    byte[] module = TestElf.of(Elf64.ET_REL).section(".modinfo", new byte[0]).build();
    // sh_offset of the first section after the null section.
    int sectionHeaders = module.length - 3 * 64;
    module[sectionHeaders + 64 + 24 + 7] = (byte) 0x80;
    modules.put("kernel/a.ko", module);
    assertTrue(refusal(packaged(), A).contains("does not say which kernel it is for"));
  }

  @Test
  void aDamagedCompressedModuleIsRefused() throws IOException {
    modules.put("kernel/a.ko.xz", "not xz".getBytes(StandardCharsets.US_ASCII));
    assertTrue(
        refusal(packaged(), A).contains("kernel/a.ko.xz is damaged"), refusal(packaged(), A));
    modules.clear();
    modules.put("kernel/a.ko.lz4", new byte[10]);
    assertTrue(refusal(packaged(), A).contains("compressed in a way that is not supported"));
  }

  @Test
  void aModuleWhoseNameIsNoNameIsNotTaken() throws IOException {
    module("kernel/a\n.ko", "depends=");
    module("kernel/a b.ko", "depends=");
    assertEquals(List.of(), List.copyOf(packaged().modules()));
  }

  @Test
  void aModuleThatIsAskedForComesLastWithWhatItDependsOnAndIsPromised() throws IOException {
    module("kernel/a.ko", "depends=b");
    module("kernel/b.ko", "depends=");
    module("kernel/c-d.ko", "depends=b,e");
    module("kernel/e.ko", "depends=");
    List<GuestModule> modules = demand(packaged(), "c_d", "b");
    assertEquals(List.of("b", "a", "e", "c_d"), names(modules));
    assertEquals(
        List.of("b", "c_d"), names(modules.stream().filter(GuestModule::promised).toList()));
  }

  @Test
  void onlyWhatTheDialNeedsComesBeforeIt() throws IOException {
    module("kernel/a.ko", "depends=b");
    module("kernel/b.ko", "depends=");
    module("kernel/c.ko", "depends=");
    GuestRequirement dial = new GuestRequirement("C", "c", true, true, "for the test");
    List<GuestModule> modules = ModuleSelection.select(packaged(), List.of(dial, A), demands("b"));
    assertEquals(List.of("c", "b", "a"), names(modules));
    assertEquals(List.of("c"), names(modules.stream().filter(GuestModule::forDial).toList()));
  }

  @Test
  void aModuleThatIsAskedForMayBeBuiltIn() throws IOException {
    builtIn = "kernel/drivers/net/tun.ko\nkernel/a.ko\n";
    assertEquals(List.of(), demand(packaged(), "tun"));
    config = Optional.of("CONFIG_A=y\nCONFIG_TUN=y\nCONFIG_XFS_FS=y\nCONFIG_NET_SCH_FQ=y\n");
    assertEquals(List.of(), demand(bare(), "tun", "xfs", "sch_fq"));
  }

  @Test
  void aModuleThatIsAskedForAndMissingIsNamedWithItsOption() throws IOException {
    builtIn = "kernel/a.ko\n";
    config = Optional.of("CONFIG_A=y\n# CONFIG_WIREGUARD is not set\nCONFIG_TUN=m\nCONFIG_NET=y\n");
    for (ResolvedKernel kernel : List.of(packaged(), bare())) {
      String message = refusedDemand(kernel, "wireguard");
      assertTrue(message.contains("it has no module wireguard, which is asked for: "), message);
      assertTrue(message.contains("CONFIG_WIREGUARD is not set in it"), message);
      assertTrue(
          refusedDemand(kernel, "tun")
              .contains("it was built (CONFIG_TUN=m), but did not come with it"));
    }
    String message = refusedDemand(packaged(), "fs_xfs");
    assertTrue(message.contains("no module fs_xfs"), message);
    assertTrue(message.contains("neither built in nor among its 0 modules"), message);
    assertTrue(message.contains("not by an alias"), message);
    assertTrue(
        refusedDemand(packaged(), "net").contains("neither built in"),
        "an option that is no module's");
  }

  /** As in guest-agent/kernel/config, of which nothing but the configuration is left. */
  @ParameterizedTest
  @CsvSource({
    "xt_conntrack, NETFILTER_XT_MATCH_CONNTRACK",
    "xt_LOG, NETFILTER_XT_TARGET_LOG",
    "xt_TCPMSS, NETFILTER_XT_TARGET_TCPMSS",
    "xt_mark, NETFILTER_XT_MARK",
    "xt_tcpudp, NETFILTER_XTABLES",
    "iptable_mangle, IP_NF_MANGLE",
    "ip6table_raw, IP6_NF_RAW",
    "ipt_REJECT, IP_NF_TARGET_REJECT",
    "nf_conntrack_netlink, NF_CT_NETLINK",
    "nfnetlink_log, NETFILTER_NETLINK_LOG",
    "tcp_diag, INET_TCP_DIAG",
    "ip_tables, IP_NF_IPTABLES",
    "sch_fq, NET_SCH_FQ",
    "virtio_rng, HW_RANDOM_VIRTIO",
  })
  void theOptionTellsThatAModuleIsBuiltIn(String module, String option) throws IOException {
    String rest = "CONFIG_A=y\n# CONFIG_NETFILTER_XT_MATCH_MARK is not set\n";
    config = Optional.of(rest + "CONFIG_" + option + "=y\n");
    assertEquals(List.of(), demand(bare(), module));
    config = Optional.of(rest + "# CONFIG_" + option + " is not set\n");
    String message = refusedDemand(bare(), module);
    assertTrue(message.contains(": CONFIG_" + option + " is not set in it"), message);
  }

  @Test
  void whatCannotBeToldOfAModuleThatIsAskedForIsRefused() {
    config = Optional.of("CONFIG_A=y\n");
    String message = refusedDemand(bare(), "odd");
    assertTrue(
        message.contains("does not know CONFIG_ODD or CONFIG_ODD_FS or CONFIG_BLK_DEV_ODD"),
        message);
    config = Optional.empty();
    message = refusedDemand(bare(), "tun");
    assertTrue(message.contains("it came without modules, and without a configuration"), message);
  }

  @Test
  void aDependencyOfBottomlessDepthIsRefused() throws IOException {
    for (int i = 0; i < 10_000; i++) {
      module("kernel/m" + i + ".ko", "depends=m" + (i + 1));
    }
    module("kernel/a.ko", "depends=m0");
    assertTrue(refusal(packaged(), A).contains("more than 64 deep: a -> m0 -> m1 "));
  }

  @Test
  void aModuleForAnotherArchitectureIsRefused() throws IOException {
    byte[] module = TestElf.module("depends=", MAGIC);
    module[TestElf.MACHINE_OFFSET] = (byte) 183;
    modules.put("kernel/a.ko", module);
    assertTrue(refusal(packaged(), A).contains("AArch64"), refusal(packaged(), A));
  }

  @Test
  void aModuleThatDoesNotSayWhatKernelItIsForIsRefused() throws IOException {
    modules.put("kernel/a.ko", TestElf.module("depends="));
    assertTrue(refusal(packaged(), A).contains("kernel/a.ko does not say which kernel it is for"));
  }

  @Test
  void aModuleTruncatedAnywhereIsRefused() throws IOException {
    byte[] module = TestElf.module("depends=", MAGIC);
    for (int length = 0; length < module.length; length += 13) {
      modules.put("kernel/a.ko", java.util.Arrays.copyOf(module, length));
      refusal(packaged(), A);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "VSOCKETS, vsock",
    "VIRTIO_VSOCKETS, vmw_vsock_virtio_transport",
    "VIRTIO_MMIO, virtio_mmio",
    "VIRTIO_BLK, virtio_blk",
    "EXT4_FS, ext4",
    "OVERLAY_FS, overlay",
    "ACPI, -",
    "TMPFS, -",
    "CGROUPS, -",
    "BLK_DEV_INITRD, -",
    "EPOLL, -",
    "UNIX, unix",
    "UNIX98_PTYS, -",
    "MULTIUSER, -",
  })
  void aKernelWithoutWhatTheVirtualMachineNeedsIsRefused(String option, String module) {
    String message = refusalWithout(option, KernelDemands.NONE);
    assertTrue(message.contains("it lacks CONFIG_" + option + ", needed "), message);
  }

  @Test
  void whatTheDialNeedsComesFirstInTheOrderOfTheDrivers() {
    List<GuestRequirement> all =
        GuestRequirement.of(
            List.of(
                new GuestDriver("BLK_DEV_SD", "sd_mod", Use.DISK),
                new GuestDriver("HYPERV", "hv_vmbus", Use.BUS),
                new GuestDriver("HYPERV_VSOCKETS", "hv_sock", Use.CONNECTION)),
            KernelDemands.NONE);
    assertEquals(
        List.of("vsock", "hv_vmbus", "hv_sock", "sd_mod", "ext4"),
        all.stream().limit(5).map(GuestRequirement::module).toList());
    assertEquals(3, all.stream().filter(GuestRequirement::forDial).count());
  }

  @Test
  void driversOfEntropyAndMemoryAreNotMissed() {
    for (Use use : Use.values()) {
      GuestRequirement only =
          GuestRequirement.of(List.of(new GuestDriver("A", "a", use)), KernelDemands.NONE).stream()
              .filter(requirement -> requirement.option().equals("A"))
              .findFirst()
              .orElseThrow();
      assertEquals(use != Use.ENTROPY && use != Use.MEMORY, only.required(), use::name);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "net.core.somaxconn, NET",
    "net.core.somaxconn, PROC_SYSCTL",
    "net.core.bpf_jit_enable, BPF_JIT",
    "net.ipv4.tcp_syncookies, SYN_COOKIES",
    "kernel.sysrq, MAGIC_SYSRQ",
    "kernel.kexec_load_disabled, KEXEC_CORE",
    "kernel.unprivileged_bpf_disabled, BPF_SYSCALL",
    "vm.unprivileged_userfaultfd, USERFAULTFD",
    "net.ipv4.ip_forward, INET",
    "net.ipv6.conf.all.forwarding, IPV6",
    "fs.mqueue.msg_max, POSIX_MQUEUE",
    "kernel.shmmax, SYSVIPC",
    "kernel.msgmax, SYSVIPC",
    "net.netfilter.nf_conntrack_max, NF_CONNTRACK",
  })
  void aKernelWithoutTheOptionOfASysctlIsRefused(String sysctl, String option) {
    KernelDemands demands = new KernelDemands(List.of(), Set.of(sysctl), false, false, 1, Map.of());
    String message = refusalWithout(option, demands);
    assertTrue(
        message.contains(
            "it lacks CONFIG_" + option + ", needed for the sysctl " + sysctl + ", which is asked"),
        message);
  }

  @Test
  void aKernelWithoutAnOptionThatTheContainerTakesIsRefused() {
    Map<String, String> options = Map.of("SECCOMP_FILTER", "for its seccomp profile");
    config = Optional.of("# CONFIG_SECCOMP_FILTER is not set\n");
    ResolvedKernel without = bare();
    String message =
        assertThrows(KernelException.class, () -> without.requireOptions(options)).getMessage();
    assertTrue(
        message.contains("it lacks CONFIG_SECCOMP_FILTER, needed for its seccomp profile"),
        message);
    without.requireOptions(Map.of());
    config = Optional.of("CONFIG_SECCOMP_FILTER=y\n");
    bare().requireOptions(options);
    config = Optional.empty();
    bare().requireOptions(options);
  }

  @Test
  void aKernelThatCannotLimitProcessesIsRefusedWhereThatIsAskedFor() throws IOException {
    KernelDemands demands = new KernelDemands(List.of(), Set.of(), true, false, 1, Map.of());
    String message = refusalWithout("CGROUP_PIDS", demands);
    assertTrue(message.contains("it lacks CONFIG_CGROUP_PIDS, needed to limit"), message);
    assertEquals(
        List.of(),
        ModuleSelection.select(
            bare(), GuestRequirement.of(DRIVERS, KernelDemands.NONE), KernelDemands.NONE));
  }

  @ParameterizedTest
  @CsvSource({"TUN", "INET"})
  void aKernelThatCannotHaveANetworkIsRefusedWhereThatIsAskedFor(String option) {
    KernelDemands demands = new KernelDemands(List.of(), Set.of(), false, true, 1, Map.of());
    String message = refusalWithout(option, demands);
    assertTrue(
        message.contains("it lacks CONFIG_" + option + ", needed for its network, which is asked"),
        message);
  }

  @ParameterizedTest
  @CsvSource({
    "CONFIG_SMP=y;CONFIG_NR_CPUS=2, CONFIG_NR_CPUS=2",
    "CONFIG_NR_CPUS=1, CONFIG_SMP is not set in it",
    "# CONFIG_SMP is not set;CONFIG_NR_CPUS=1, CONFIG_SMP is not set in it",
  })
  void aKernelForFewerProcessorsThanAreAskedForIsRefused(String configuration, String expected) {
    config = Optional.of(configuration.replace(';', '\n'));
    ResolvedKernel kernel = bare();
    kernel.requireProcessors(1);
    String message =
        assertThrows(KernelException.class, () -> kernel.requireProcessors(3)).getMessage();
    assertTrue(message.contains("cannot run 3 processors"), message);
    assertTrue(message.contains(expected), message);
  }

  @Test
  void aKernelForAsManyProcessorsOrWithoutAConfigurationIsAccepted() {
    config = Optional.of("CONFIG_SMP=y\nCONFIG_NR_CPUS=3\n");
    bare().requireProcessors(3);
    config = Optional.empty();
    bare().requireProcessors(3);
  }

  @Test
  void theModuleThatBringsASysctlIsLoaded() throws IOException {
    module("kernel/nf_conntrack.ko", "depends=");
    GuestRequirement sysctl =
        SysctlOption.requirements("net.netfilter.nf_conntrack_max")
            .filter(requirement -> !requirement.module().isEmpty())
            .findFirst()
            .orElseThrow();
    assertEquals(List.of("nf_conntrack"), select(packaged(), sysctl));
  }

  /** What a kernel is told that has all that is needed but one option. */
  private String refusalWithout(String option, KernelDemands demands) {
    StringBuilder all = new StringBuilder();
    for (GuestRequirement requirement : GuestRequirement.of(DRIVERS, demands)) {
      if (!requirement.option().equals(option)) {
        all.append("CONFIG_").append(requirement.option()).append("=y\n");
      }
    }
    config = Optional.of(all.toString());
    return refusal(bare(), GuestRequirement.of(DRIVERS, demands).toArray(GuestRequirement[]::new));
  }
}
