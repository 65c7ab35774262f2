// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.fake.FakeHypervisor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Debian's own packages, as this machine's apt has them, judged by other tools. */
@DisabledOnOs(value = OS.WINDOWS, disabledReason = "Windows has no apt")
class DebianKernelTest {
  private static final KernelDemands DEMANDS =
      new KernelDemands(
          List.of("tun", "wireguard", "nf_tables"), Set.of(), false, false, 1, Map.of());

  private static final List<GuestRequirement> REQUIREMENTS =
      GuestRequirement.of(FakeHypervisor.DRIVERS, KernelDemands.NONE);

  @TempDir Path directory;

  static Stream<ResolvedKernel> kernels() {
    return Stream.of(TestKernels.debian61(), TestKernels.debian612());
  }

  @Test
  void releaseConfigurationAndModulesAreKnown() {
    ResolvedKernel old = TestKernels.debian61();
    assertTrue(old.version().matches("6\\.1\\.0-[0-9]+-cloud-amd64"), old.version());
    assertTrue(old.builtInModules().contains("ext4"));
    assertTrue(old.modules().contains("virtio"));

    ResolvedKernel newer = TestKernels.debian612();
    assertTrue(newer.version().matches("6\\.12\\.[0-9].*-cloud-amd64"), newer.version());
    assertTrue(newer.builtInModules().contains("virtio"));
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void theVmlinuxIsWhatOtherToolsUnpack(ResolvedKernel kernel) throws IOException {
    Path image = directory.resolve("vmlinuz");
    try (KernelArchive archive = new KernelArchive("package", kernel.archive())) {
      Files.write(image, archive.kernel());
    }
    // As scripts/extract-vmlinux of the kernel does: look for the magic, and try.
    String[] lz4 = {"\\x02\\x21L\\x18", "lz4 -dc"};
    String[] zstd = {"\\x28\\xb5\\x2f\\xfd", "zstd -dc"};
    String[] tool = kernel.version().startsWith("6.1.") ? lz4 : zstd;
    String script =
        """
        for offset in $(LC_ALL=C grep -abo -P '%s' '%s' | cut -d: -f1); do
          tail -c +$((offset + 1)) '%s' | %s 2>/dev/null | cmp -s - '%s' && echo same
        done
        true
        """
            .formatted(tool[0], image, image, tool[1], kernel.vmlinux());
    assertEquals("same", TestTools.run("sh", "-c", script).strip());
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void modulesAreLoadedInTheOrderOfModprobe(ResolvedKernel kernel) throws IOException {
    Path tree = TestKernels.modulesTree(kernel);
    List<String> wanted =
        REQUIREMENTS.stream()
            .map(GuestRequirement::module)
            // Some can be built in only, depending on the version: modprobe does not know them.
            .filter(kernel.modules()::contains)
            .toList();
    StringBuilder script = new StringBuilder();
    for (String module : wanted) {
      script.append("/sbin/modprobe --show-depends -d '").append(tree).append("' -S ");
      script.append(kernel.version()).append(' ').append(module).append('\n');
    }
    List<String> expected =
        TestTools.run("sh", "-e", "-c", script.toString())
            .lines()
            .filter(line -> line.startsWith("insmod "))
            .map(line -> line.replaceFirst(".*/([^/]*)\\.ko.*", "$1").replace('-', '_'))
            .distinct()
            .toList();
    assertEquals(expected, names(kernel, KernelDemands.NONE));
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void modulesThatAreAskedForComeAfterAllThatDepmodSaysTheyNeed(ResolvedKernel kernel)
      throws IOException {
    List<String> loaded = names(kernel, DEMANDS);
    assertTrue(loaded.containsAll(DEMANDS.modules()), loaded::toString);
    Path tree = TestKernels.modulesTree(kernel);
    Path dep = tree.resolve("lib/modules").resolve(kernel.version()).resolve("modules.dep");
    for (String line : Files.readAllLines(dep)) {
      String name = name(line.substring(0, line.indexOf(':')));
      if (loaded.contains(name)) {
        for (String path : line.substring(line.indexOf(':') + 1).strip().split(" +")) {
          int needed = path.isEmpty() ? -1 : loaded.indexOf(name(path));
          assertTrue(path.isEmpty() || needed >= 0, line + " but " + loaded);
          assertTrue(needed < loaded.indexOf(name), line + " but " + loaded);
        }
      }
    }
  }

  private static List<String> names(ResolvedKernel kernel, KernelDemands demands)
      throws IOException {
    return ModuleSelection.select(kernel, REQUIREMENTS, demands).stream()
        .map(GuestModule::name)
        .toList();
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void everyModuleCanBeReadAndItsDependenciesAreThoseOfDepmod(ResolvedKernel kernel)
      throws IOException {
    Path tree = TestKernels.modulesTree(kernel);
    Path dep = tree.resolve("lib/modules").resolve(kernel.version()).resolve("modules.dep");
    Map<String, String> files;
    int read = 0;
    try (KernelArchive archive = new KernelArchive("package", kernel.archive())) {
      files = archive.modules(kernel.version());
      for (String line : Files.readAllLines(dep)) {
        String name = name(line.substring(0, line.indexOf(':')));
        // All of them would take seconds; depmod lists direct and indirect dependencies.
        if (name.hashCode() % 16 != 0) {
          continue;
        }
        read++;
        ModuleInfo info = ModuleInfo.read(name, archive.module(files.get(name)));
        info.requireVersion(kernel.version());
        List<String> known =
            Stream.of(line.substring(line.indexOf(':') + 1).split(" "))
                .filter(path -> !path.isEmpty())
                .map(DebianKernelTest::name)
                .toList();
        assertTrue(known.containsAll(info.dependencies()), line + " but " + info.dependencies());
        assertEquals(known.isEmpty(), info.dependencies().isEmpty(), name);
      }
    }
    assertEquals(Files.readAllLines(dep).size(), files.size());
    assertTrue(read > 30);
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void theOptionThatAModuleIsBuiltByIsFoundOrNotAtAll(ResolvedKernel kernel) {
    KernelConfig config = kernel.config().orElseThrow();
    int found = 0;
    for (String module : kernel.modules()) {
      Optional<String> option = ModuleOption.of(module, config);
      // They have no option of their own, but one that selects them.
      if (option.isPresent() && !Set.of("autofs4", "pvpanic").contains(module)) {
        assertEquals(Optional.of("m"), config.value(option.get()), module);
        found++;
      }
    }
    assertTrue(found > kernel.modules().size() / 2, found + " of " + kernel.modules().size());
    for (String module : kernel.builtInModules()) {
      Optional<String> option = ModuleOption.of(module, config);
      if (option.isPresent() && !module.equals("crypto_null")) {
        assertEquals(Optional.of("y"), config.value(option.get()), module);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kernels")
  void theOptionOfEveryModuleOfFirewallsAndTrafficControlIsFound(ResolvedKernel kernel) {
    KernelConfig config = kernel.config().orElseThrow();
    List<String> unknown =
        kernel.modules().stream()
            .filter(
                module ->
                    module.matches("(xt|ip6?t|ip6?table|arpt|arptable|arp|ebt|ebtable)_.*|ebtables")
                        || module.matches("(nf|nft|nfnetlink|ip_set|ip_vs|br)_.*|.*_diag")
                        || module.matches("(act|cls|em|sch|tcp)_.*"))
            // Metadata of act_ife, and a library of TCP's authentication.
            .filter(module -> !module.matches("act_meta_.*|tcp_sigpool"))
            .filter(module -> ModuleOption.of(module, config).isEmpty())
            .toList();
    assertEquals(List.of(), unknown);
  }

  private static String name(String path) {
    return path.replaceFirst(".*/", "").replaceFirst("\\.ko.*", "").replace('-', '_');
  }

  /**
   * On a machine that is neither ours nor in need of KVM: QEMU's, emulated. Busybox stands in for
   * the agent.
   */
  @ParameterizedTest
  @MethodSource("kernels")
  void itBootsWithItsInitramfsAndLoadsItsModules(ResolvedKernel kernel) throws IOException {
    byte[] busybox = Files.readAllBytes(Path.of("/bin/busybox"));
    Path initramfs = directory.resolve("initramfs");
    List<GuestModule> modules = ModuleSelection.select(kernel, REQUIREMENTS, DEMANDS);
    Initramfs.write(initramfs, busybox, modules);
    Path more = directory.resolve("more");
    try (CpioWriter cpio = new CpioWriter(Files.newOutputStream(more))) {
      cpio.directory("bin", 0755);
      cpio.file("bin/busybox", 0755, busybox);
      cpio.directory("etc", 0755);
      cpio.file(
          "etc/inittab",
          0644,
          "::sysinit:/bin/busybox sh /check\n".getBytes(StandardCharsets.US_ASCII));
      String check =
          """
          busybox() { /bin/busybox "$@"; }
          while read -r module; do
            module=${module#!}
            busybox insmod "$module" && echo "loaded $module"
          done </nacelle/modules
          echo "release $(busybox uname -r)"
          echo "build $(busybox uname -v)"
          busybox reboot -f
          """;
      cpio.file("check", 0755, check.getBytes(StandardCharsets.US_ASCII));
    }
    // The kernel unpacks archives one after the other (buffer-format.rst).
    byte[] both = TestTools.pipe(new byte[0], "cat", initramfs.toString(), more.toString());
    Files.write(initramfs, both);
    String console =
        TestTools.run(
            "timeout",
            "120",
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-M",
            "pc",
            "-cpu",
            "max",
            "-m",
            "256",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
            "-kernel",
            kernel.vmlinux().toString(),
            "-initrd",
            initramfs.toString(),
            "-append",
            "console=ttyS0 quiet panic=-1 reboot=t mitigations=off");
    for (String line : Files.readAllLines(list(initramfs))) {
      String module = line.replaceFirst("^!", "");
      assertTrue(module.isEmpty() || console.contains("loaded " + module), console);
    }
    assertTrue(console.contains("release " + kernel.version()), console);
    assertTrue(console.contains("build " + kernel.build()), console);
  }

  private Path list(Path initramfs) throws IOException {
    Path list = directory.resolve("list");
    Files.write(
        list,
        TestTools.pipe(
            Files.readAllBytes(initramfs),
            "cpio",
            "--extract",
            "--to-stdout",
            "--quiet",
            "nacelle/modules"));
    return list;
  }
}
