// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import static dev.nacelle.fake.FakeHypervisor.DRIVERS;
import static java.nio.file.StandardOpenOption.WRITE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.KernelException;
import dev.nacelle.Stage;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.GuestDriver.Use;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class KernelStoreTest {
  private static final String RELEASE = "6.1.0-test";

  @TempDir Path directory;
  private KernelStore store;

  @BeforeEach
  void open() {
    store = new KernelStore(directory.resolve("store"));
  }

  private Path file(String name, byte[] content) throws IOException {
    return Files.write(directory.resolve(name), content);
  }

  private String refusal(KernelRef ref) {
    KernelException e = assertThrows(KernelException.class, () -> store.resolve(ref));
    assertEquals(Stage.KERNEL, e.stage());
    assertTrue(e.getMessage().contains(ref.name()), e.getMessage());
    return e.reason() + ": " + e.getMessage();
  }

  @Test
  void aVmlinuxIsResolved() throws IOException {
    byte[] content = TestElf.kernel(RELEASE).build();
    Path file = file("vmlinux", content);
    ResolvedKernel kernel = store.resolve(KernelRef.file(file));
    assertEquals(RELEASE, kernel.version());
    assertEquals("#1 SMP PREEMPT_DYNAMIC Test 1 (2026-01-01)", kernel.build());
    assertEquals("x86_64", kernel.architecture());
    assertEquals(Sha256.hex(content), kernel.digest().hex());
    assertEquals("file:" + file + "@" + kernel.digest(), kernel.pinnedRef().toString());
    assertEquals("file " + file, kernel.source());
    assertArrayEquals(content, Files.readAllBytes(kernel.vmlinux()));
    assertEquals(Optional.empty(), kernel.config());
    assertEquals(Set.of(), kernel.modules());
    assertEquals(Set.of(), kernel.builtInModules());
  }

  @Test
  void aBzImageIsResolved() throws IOException {
    byte[] vmlinux = TestElf.kernel(RELEASE).build();
    byte[] packed = TestTools.pipe(vmlinux, "zstd", "-22", "--ultra");
    Path file = file("vmlinuz", TestBzImage.of(packed, vmlinux.length));
    ResolvedKernel kernel = store.resolve(KernelRef.file(file));
    assertArrayEquals(vmlinux, Files.readAllBytes(kernel.vmlinux()));
    assertEquals(Sha256.hex(file), kernel.digest().hex());
  }

  @Test
  void aPackageIsResolved() throws IOException {
    Path deb = TestTools.kernelPackage(directory, RELEASE);
    ResolvedKernel kernel = store.resolve(KernelRef.deb(deb));
    assertEquals(RELEASE, kernel.version());
    assertEquals(Sha256.hex(deb), kernel.digest().hex());
    assertEquals("package linux-image-test 1", kernel.source());
    assertEquals(Set.of("overlay"), kernel.modules());
    assertEquals(Set.of("ext4"), kernel.builtInModules());
    assertEquals(Optional.of("m"), kernel.config().orElseThrow().value("CONFIG_OVERLAY_FS"));
    assertEquals(Optional.of("m"), kernel.config().orElseThrow().value("OVERLAY_FS"));
    assertEquals(Optional.empty(), kernel.config().orElseThrow().value("OVERLAY"));
  }

  @Test
  @Timeout(60)
  void aFileThatIsBeingWrittenIsNotKept() throws Exception {
    byte[] content = Arrays.copyOf(TestElf.kernel(RELEASE).build(), 8 << 20);
    KernelRef ref = KernelRef.file(file("vmlinux", content));
    AtomicBoolean written = new AtomicBoolean();
    CompletableFuture<Void> writer =
        CompletableFuture.runAsync(
            () -> {
              try (FileChannel out = FileChannel.open(Path.of(ref.name()), WRITE)) {
                for (long i = 0; !written.get(); i++) {
                  out.write(ByteBuffer.allocate(8).putLong(0, i), content.length - 8);
                }
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
            });
    try {
      KernelException refusal = null;
      while (refusal == null) {
        try {
          store.resolve(ref);
        } catch (KernelException e) {
          refusal = e;
        }
      }
      assertEquals(KernelException.Reason.CHANGING, refusal.reason(), refusal::toString);
      assertTrue(refusal.isTransient());
      assertEquals(ref + " changes while it is read. Try again.", refusal.getMessage());
    } finally {
      written.set(true);
      writer.get();
    }
    assertEquals(RELEASE, store.resolve(ref).version());
  }

  @Test
  void aStoreThatCannotBeWrittenIsNamed() throws IOException {
    Files.createFile(directory.resolve("store"));
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    String message = refusal(KernelRef.file(file));
    assertTrue(message.startsWith("HOST_DISK: "), message);
    assertTrue(message.contains("See that " + directory.resolve("store")), message);
  }

  @Test
  void aPinLetsNothingElseThrough() throws IOException {
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    KernelRef pinned = store.resolve(KernelRef.file(file)).pinnedRef();
    assertEquals(RELEASE, store.resolve(pinned).version());

    file("vmlinux", TestElf.kernel("6.1.1-test").build());
    String message = refusal(pinned);
    assertTrue(message.startsWith("PIN_DIFFERS: "), message);
    assertTrue(message.contains("is not what it is pinned to"), message);
    assertTrue(message.contains("sha256:" + Sha256.hex(file)), message);
  }

  @Test
  void aFileThatChangedIsReadAgain() throws IOException {
    Path file = file("vmlinux", TestElf.kernel("6.1.1").build());
    // Old enough to be remembered by its time.
    Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000));
    ResolvedKernel first = store.resolve(KernelRef.file(file));
    file("vmlinux", TestElf.kernel("6.1.2").build());
    Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000));
    ResolvedKernel second = store.resolve(KernelRef.file(file));
    assertEquals("6.1.1", first.version());
    assertEquals("6.1.2", second.version());
    assertNotEquals(first.vmlinux(), second.vmlinux());
    assertTrue(Files.exists(first.vmlinux()), "what runs may still map it");
  }

  @Test
  void theFileMayGoAwayOnceItIsResolved() throws IOException {
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    ResolvedKernel kernel = store.resolve(KernelRef.file(file));
    Files.delete(file);
    assertTrue(Files.size(kernel.vmlinux()) > 0);
    assertTrue(refusal(kernel.ref()).startsWith("NOT_FOUND: "));
  }

  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "there are no FIFOs in the file systems of Windows")
  @Test
  @Timeout(20)
  void whatIsNoFileIsRefused() throws Exception {
    Path fifo = directory.resolve("fifo");
    assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
    assertTrue(refusal(KernelRef.file(fifo)).contains("does not name a file"));
    assertTrue(refusal(KernelRef.deb(fifo)).contains("does not name a file"));
    assertTrue(refusal(KernelRef.file(directory)).contains("does not name a file"));
    assertTrue(refusal(KernelRef.deb(directory.resolve("no.deb"))).contains("does not exist"));
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "other systems may have apt")
  void onWindowsAKernelOfDebiansNeedsAnotherReference() {
    KernelException e =
        assertThrows(KernelException.class, () -> store.resolve(KernelRef.debian("6.12")));
    assertEquals(KernelException.Reason.HOST_LACKS_TOOL, e.reason());
    assertTrue(e.getMessage().contains("there is no apt on Windows"), e.getMessage());
    assertTrue(e.remedy().orElse("").contains("Use the default kernel"), e::getMessage);
    assertTrue(e.remedy().orElse("").contains("deb:PATH"), e::getMessage);
  }

  @Test
  void aRefusedKernelLeavesNothingAndIsRefusedAgain() throws IOException {
    byte[] truncated = TestElf.kernel(RELEASE).build();
    Path file = file("vmlinux", java.util.Arrays.copyOf(truncated, truncated.length - 1));
    refusal(KernelRef.file(file));
    refusal(KernelRef.file(file));
    refusal(
        KernelRef.file(
            file("other", TestElf.of(Elf64.ET_EXEC).segment(0x100_0000, new byte[9], 9).build())));
    Path deb = TestTools.debianPackage(directory, "none", "Architecture: arm64", Map.of());
    refusal(KernelRef.deb(deb));
    assertEquals(Set.of(), filesInStore());
  }

  @Test
  void whatAKilledProcessLeftIsRemoved() throws IOException {
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    Path kernels = Files.createDirectories(directory.resolve("store/kernels"));
    Files.writeString(kernels.resolve("." + Sha256.hex(file) + ".3.vmlinux.partial"), "half of it");
    assertEquals(RELEASE, store.resolve(KernelRef.file(file)).version());
    assertTrue(filesInStore().stream().noneMatch(name -> name.startsWith(".")));
  }

  @Test
  void aFileThatIsTooLargeIsRefusedBeforeItIsRead() throws IOException {
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(1L << 40);
    }
    String message = refusal(KernelRef.file(file));
    assertTrue(message.startsWith("TOO_LARGE: "), message);
    assertTrue(message.contains("too large for a kernel: 1099511627776 bytes"), message);
    assertTrue(refusal(KernelRef.deb(file)).contains("at most 8589934592 are taken"));
  }

  @Test
  void aFileThatWasChangedAMomentAgoIsNotRememberedHoweverOldItClaimsToBe() throws IOException {
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000));
    store.resolve(KernelRef.file(file));
    assertTrue(filesInStore().stream().noneMatch(name -> name.endsWith(".sha256")));
  }

  @Test
  void factsThatAreMissingAreFoundAgain() throws IOException {
    Path file = file("vmlinux", TestElf.kernel(RELEASE).build());
    ResolvedKernel kernel = store.resolve(KernelRef.file(file));
    Files.delete(kernel.vmlinux().resolveSibling(Sha256.hex(file) + ".3.facts"));
    ResolvedKernel again = store.resolve(KernelRef.file(file));
    assertEquals(kernel.version() + kernel.build(), again.version() + again.build());
  }

  @Test
  void aPackageWithTheModulesOfAnotherKernelIsRefused() throws IOException {
    byte[] vmlinux = TestElf.kernel("6.1.0-other").build();
    Path deb =
        TestTools.debianPackage(
            directory,
            "none",
            "Architecture: amd64",
            Map.of("/boot/vmlinuz-6.1.0", vmlinux, "/lib/modules/6.1.0/kernel/a.ko", new byte[1]));
    String message = refusal(KernelRef.deb(deb));
    assertTrue(message.startsWith("DAMAGED: "), message);
    assertTrue(message.contains("has the kernel 6.1.0-other and modules of [6.1.0]"), message);
  }

  @Test
  void theConfigurationInABareKernelIsUsed() throws IOException {
    byte[] config = embedded("CONFIG_VIRTIO_MMIO=y\n# CONFIG_VSOCKETS is not set\n");
    Path file = file("vmlinux", TestElf.kernel(RELEASE).section(".c", config).build());
    ResolvedKernel kernel = store.resolve(KernelRef.file(file));
    assertEquals(Optional.of("y"), kernel.config().orElseThrow().value("CONFIG_VIRTIO_MMIO"));
    KernelException e =
        assertThrows(KernelException.class, () -> store.initramfs(kernel, agent("1"), DRIVERS));
    assertTrue(e.getMessage().contains("lacks CONFIG_VSOCKETS"), e.getMessage());
  }

  @Test
  void theInitramfsIsOneForEachKernelAndAgent() throws IOException {
    ResolvedKernel one = store.resolve(KernelRef.file(file("a", TestElf.kernel("6.1").build())));
    ResolvedKernel two = store.resolve(KernelRef.file(file("b", TestElf.kernel("6.2").build())));
    Path first = store.initramfs(one, agent("1"), DRIVERS);
    assertEquals(first, store.initramfs(one, agent("1"), DRIVERS));
    assertNotEquals(first, store.initramfs(two, agent("1"), DRIVERS));
    assertNotEquals(first, store.initramfs(one, agent("2"), DRIVERS));
    assertEquals(
        "init", TestTools.run("sh", "-c", "cpio -it --quiet <'" + first + "' | tail -n 1").strip());
  }

  /** A kernel with what every guest needs built in, and more. */
  private ResolvedKernel usable(String more) throws IOException {
    StringBuilder config = new StringBuilder(more);
    GuestRequirement.of(DRIVERS, KernelDemands.NONE)
        .forEach(requirement -> config.append("CONFIG_" + requirement.option() + "=y\n"));
    byte[] vmlinux = TestElf.kernel(RELEASE).section(".c", embedded(config.toString())).build();
    return store.resolve(KernelRef.file(file("vmlinux", vmlinux)));
  }

  @Test
  void theInitramfsIsOneForTheDriversOfEachHypervisor() throws IOException {
    List<GuestDriver> others =
        List.of(
            new GuestDriver("HYPERV", "hv_vmbus", Use.BUS),
            new GuestDriver("HYPERV_VSOCKETS", "hv_sock", Use.CONNECTION),
            new GuestDriver("HYPERV_STORAGE", "hv_storvsc", Use.DISK),
            new GuestDriver("BLK_DEV_SD", "sd_mod", Use.DISK));
    Map<String, String> purposes =
        Map.of(
            "HYPERV", "needed to find the machine's devices",
            "HYPERV_VSOCKETS", "needed to talk to the host",
            "HYPERV_STORAGE", "needed for the image's disk",
            "BLK_DEV_SD", "needed for the image's disk");
    for (GuestDriver lacking : others) {
      String present =
          others.stream()
              .filter(driver -> driver != lacking)
              .map(driver -> "CONFIG_" + driver.option() + "=y\n")
              .collect(Collectors.joining());
      ResolvedKernel kernel = usable(present);
      KernelException e =
          assertThrows(KernelException.class, () -> store.initramfs(kernel, agent("1"), others));
      assertEquals(KernelException.Reason.LACKS_OPTION, e.reason());
      String option = lacking.option();
      assertTrue(
          e.getMessage().contains("lacks CONFIG_" + option + ", " + purposes.get(option)),
          e::getMessage);
    }
    ResolvedKernel both =
        usable(
            "CONFIG_HYPERV=y\nCONFIG_HYPERV_VSOCKETS=y\nCONFIG_HYPERV_STORAGE=y\n"
                + "CONFIG_BLK_DEV_SD=y\n");
    assertNotEquals(
        store.initramfs(both, agent("1"), DRIVERS), store.initramfs(both, agent("1"), others));
  }

  @Test
  void theInitramfsIsOneForEachSetOfModulesThatAreAskedFor() throws IOException {
    ResolvedKernel kernel = usable("CONFIG_TUN=y\nCONFIG_VETH=y\n");
    Set<Path> different = new java.util.HashSet<>();
    for (List<String> modules :
        List.of(List.<String>of(), List.of("tun"), List.of("veth"), List.of("tun", "veth"))) {
      Path path =
          store.initramfs(
              kernel,
              agent("1"),
              DRIVERS,
              new KernelDemands(modules, Set.of(), false, false, 1, Map.of()));
      assertEquals(
          path,
          store.initramfs(
              kernel,
              agent("1"),
              DRIVERS,
              new KernelDemands(modules, Set.of(), false, false, 1, Map.of())));
      different.add(path);
    }
    assertEquals(4, different.size());
    assertTrue(different.contains(store.initramfs(kernel, agent("1"), DRIVERS)));
  }

  @Test
  void theInitramfsServesEveryNumberOfProcessorsThatTheKernelRuns() throws IOException {
    ResolvedKernel kernel = usable("CONFIG_SMP=y\nCONFIG_NR_CPUS=2\n");
    Path path = store.initramfs(kernel, agent("1"), DRIVERS);
    assertEquals(
        path,
        store.initramfs(
            kernel,
            agent("1"),
            DRIVERS,
            new KernelDemands(List.of(), Set.of(), false, false, 2, Map.of())));
    KernelDemands three = new KernelDemands(List.of(), Set.of(), false, false, 3, Map.of());
    KernelException e =
        assertThrows(
            KernelException.class, () -> store.initramfs(kernel, agent("1"), DRIVERS, three));
    assertTrue(e.getMessage().contains("CONFIG_NR_CPUS=2"), e.getMessage());
  }

  @Test
  void manyThreadsGetTheSameKernel() throws Exception {
    Path deb = TestTools.kernelPackage(directory, RELEASE);
    ExecutorService threads = Executors.newFixedThreadPool(8);
    try {
      List<Future<Path>> resolved = new ArrayList<>();
      for (int i = 0; i < 32; i++) {
        resolved.add(threads.submit(() -> store.resolve(KernelRef.deb(deb)).vmlinux()));
      }
      Set<Path> different = new java.util.HashSet<>();
      for (Future<Path> one : resolved) {
        different.add(one.get());
      }
      assertEquals(1, different.size());
    } finally {
      threads.shutdown();
    }
    Map<String, Long> endings = new HashMap<>();
    for (String name : filesInStore()) {
      endings.merge(name.substring(name.lastIndexOf('.')), 1L, Long::sum);
    }
    endings.remove(".sha256");
    assertEquals(Map.of(".zip", 1L, ".vmlinux", 1L, ".facts", 1L), endings);
  }

  /** A configuration as CONFIG_IKCONFIG embeds it. */
  private static byte[] embedded(String config) throws IOException {
    ByteArrayOutputStream embedded = new ByteArrayOutputStream();
    embedded.writeBytes("IKCFG_ST".getBytes(StandardCharsets.US_ASCII));
    try (GZIPOutputStream gzip = new GZIPOutputStream(embedded)) {
      gzip.write(config.getBytes(StandardCharsets.US_ASCII));
    }
    return embedded.toByteArray();
  }

  private static GuestAgentBinary agent(String content) {
    return GuestAgentBinary.of(
        TestElf.of(Elf64.ET_EXEC)
            .section(".text", content.getBytes(StandardCharsets.US_ASCII))
            .build());
  }

  private Set<String> filesInStore() throws IOException {
    try (Stream<Path> files = Files.walk(directory.resolve("store"))) {
      return files
          .filter(Files::isRegularFile)
          .map(file -> file.getFileName().toString())
          .filter(name -> !name.equals(".locks") && !name.endsWith(".used"))
          .collect(Collectors.toSet());
    }
  }
}
