// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataDisk;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.TestImages;
import dev.nacelle.VmExit;
import dev.nacelle.WritableLayer;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.Baseline;
import dev.nacelle.internal.OtherProcess;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.kvm.device.virtio.block.BlockDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a sandbox stands on goes away: the host's disk or descriptors, the files of its disks and
 * its kernel, the process itself. There is an error that says so, nothing is left, and a neighbour
 * notices nothing.
 */
@Tag("boot")
@Timeout(900)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ChaosBootTest {
  /** How the names of KVM's machines and of their processors begin. */
  private static final String MACHINE = "anon_inode:kvm-";

  /** More than any start takes. */
  private static final int MOST_DESCRIPTORS = 200;

  private Baseline before;
  private Nacelle nacelle;
  private ImageRef image;
  private Sandbox neighbour;

  @SuppressWarnings("NullAway.Init") // before all tests
  ChaosBootTest() {}

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    image = TestImages.busybox(directory.resolve("image"));
    nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
    neighbour = nacelle.start(spec().build());
    before = Baseline.now(TestKernels.CACHE);
  }

  @AfterEach
  void nothingIsLeftAndTheNeighbourIsUnharmed() throws Exception {
    before.assertFilesAsBefore();
    assertEquals("still\n", neighbour.exec("echo", "still").stdout().text());
  }

  @AfterAll
  void close() {
    nacelle.close();
  }

  private SandboxSpec.Builder spec() {
    return spec(image);
  }

  private static SandboxSpec.Builder spec(ImageRef image) {
    return SandboxSpec.builder()
        .image(image)
        .kernel("nacelle:6.12")
        .memory(DataSize.mebibytes(128))
        .user("0")
        .startTimeout(Duration.ofMinutes(8));
  }

  @Test
  void diskOfTheHostThatIsFullKeepsASandboxFromStarting(@TempDir Path directory) throws Exception {
    Path small = Files.createDirectory(directory.resolve("small"));
    Tool.run(directory, "mount", "-t", "tmpfs", "-o", "size=8k", "none", small.toString());
    try (Nacelle own =
        Nacelle.builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(small).build()) {
      SandboxSpec onDisk =
          spec().writableLayer(WritableLayer.onDisk(DataSize.gibibytes(1))).build();
      NacelleException e = assertThrows(NacelleException.class, () -> own.start(onDisk));
      assertEquals(Stage.CREATE, e.stage());
      assertTrue(e.getMessage().contains("No space left"), e::getMessage);
      assertTrue(e.remedy().orElseThrow().contains("scratchDirectory"), e::getMessage);
      assertEquals(List.of(), images(small));
      // Without one it starts.
      try (Sandbox sandbox = own.start(spec().build())) {
        assertEquals("up\n", sandbox.exec("echo", "up").stdout().text());
      }
    } finally {
      Tool.run(directory, "umount", small.toString());
    }
  }

  private static void truncate(Path file, long size) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(size);
    }
  }

  @Test
  void diskThatBecomesShorterIsAnErrorOfTheGuestsFiles(@TempDir Path directory) throws Exception {
    Path tree = Files.createDirectory(directory.resolve("tree"));
    byte[] content = new byte[4 << 20];
    new Random(7).nextBytes(content);
    Files.write(tree.resolve("file"), content);
    Files.writeString(tree.resolve("read"), "before\n");
    Path image = directory.resolve("disk.img");
    DataDisk copy = DataDisk.of(tree).withFreeSpace(DataSize.mebibytes(1));
    DataDisk disk = nacelle.makeDisk(copy, image).readOnly();
    try (LogRecords records = LogRecords.of(BlockDevice.class.getName());
        Sandbox sandbox = nacelle.start(spec().dataDisk("/disk", disk).build())) {
      sandbox.exec("cat", "/disk/read").orThrow();
      truncate(image, 1 << 20);
      ExecResult read = sandbox.exec("sh", "-c", "cat /disk/file > /dev/null; cat /disk/read");
      assertTrue(read.stderr().text().contains("Input/output error"), read::toString);
      assertEquals("before\n", read.stdout().text());
      // Once, however many reads fail.
      assertEquals(1, records.messages().size(), () -> records.messages().toString());
      String warning = records.messages().get(0);
      assertTrue(warning.contains(image.toString()), warning);
      assertTrue(warning.contains("shorter"), warning);
    }
  }

  @Test
  void kernelThatBecomesShorterEndsItsGuestAndNotThisProcess(@TempDir Path directory)
      throws Exception {
    // Of another digest than all others have: it is mapped by this guest alone.
    Path vmlinux = directory.resolve("vmlinux");
    Files.copy(TestKernels.store().resolve(KernelRef.parse("nacelle:6.12")).vmlinux(), vmlinux);
    Files.write(vmlinux, new byte[1], StandardOpenOption.APPEND);
    ResolvedKernel own = TestKernels.store().resolve(KernelRef.file(vmlinux));
    SandboxSpec spec =
        spec().kernel(KernelRef.file(vmlinux)).memoryPolicy(MemoryPolicy.DENSITY).build();
    try (Sandbox sandbox = nacelle.start(spec)) {
      assertFalse(MemoryRegion.of(own.vmlinux()).isEmpty());
      truncate(own.vmlinux(), 4096);
      SandboxEndedException ended =
          assertThrows(SandboxEndedException.class, () -> sandbox.exec("true"));
      assertEquals(SandboxExit.Reason.HOST_FAILED, ended.exit().reason(), ended::toString);
      assertTrue(ended.getMessage().contains("became shorter"), ended::getMessage);
      VmExit machine = sandbox.onExit().get(1, TimeUnit.MINUTES).machine().orElseThrow();
      assertEquals(VmExit.Reason.HOST_ERROR, machine.reason());
    } finally {
      Files.delete(own.vmlinux());
    }
  }

  /** Sets this process's limit of descriptors: a program that is there before none can start. */
  private static final class DescriptorLimit implements AutoCloseable {
    private final Process shell;

    DescriptorLimit() throws IOException {
      String script = "while read limit; do prlimit --pid=$PPID --nofile=$limit: && echo set; done";
      shell =
          new ProcessBuilder("sh", "-c", script)
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
    }

    void set(long limit) throws IOException {
      shell.getOutputStream().write((limit + "\n").getBytes(StandardCharsets.UTF_8));
      shell.getOutputStream().flush();
      assertEquals(
          "set\n", new String(shell.getInputStream().readNBytes(4), StandardCharsets.UTF_8));
    }

    @Override
    public void close() throws IOException {
      shell.getOutputStream().close();
      shell.onExit().join();
    }
  }

  private static int highestDescriptor() throws IOException {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return open.mapToInt(file -> Integer.parseInt(file.getFileName().toString()))
          .max()
          .orElseThrow();
    }
  }

  @Test
  void startThatLacksDescriptorsSaysSo() throws Exception {
    long usual = Long.parseLong(Tool.run(Path.of("/"), "sh", "-c", "ulimit -Sn").strip());
    SandboxSpec spec = spec().writableLayer(WritableLayer.onDisk(DataSize.mebibytes(16))).build();
    List<String> failures = new ArrayList<>();
    Sandbox started = null;
    try (DescriptorLimit limit = new DescriptorLimit()) {
      int highest = highestDescriptor();
      try {
        for (int spare = 1; started == null && spare < MOST_DESCRIPTORS; spare += 3) {
          limit.set(highest + spare);
          try {
            started = nacelle.start(spec);
          } catch (NacelleException e) {
            failures.add(e.stage() + " " + e);
            assertEquals("still\n", neighbour.exec("echo", "still").stdout().text());
          }
        }
      } finally {
        limit.set(usual);
      }
    }
    assertNotNull(started, failures::toString);
    try (Sandbox sandbox = started) {
      assertEquals("up\n", sandbox.exec("echo", "up").stdout().text());
    }
    assertTrue(failures.size() > 2, failures::toString);
    for (String failure : failures) {
      assertTrue(failure.contains("ulimit -n"), () -> "without a remedy: " + failure);
    }
  }

  private static List<String> images(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(".img") || name.endsWith(".raw"))
          .toList();
    }
  }

  @Test
  void sandboxDoesNotOutliveAProcessThatIsKilled(@TempDir Path directory) throws Exception {
    Path scratch = directory.resolve("scratch");
    long child;
    try (OtherProcess process = OtherProcess.start(ChaosBootTest.class, image, scratch)) {
      child = Long.parseLong(process.read());
      assertEquals("up", process.read());
      assertTrue(holders(MACHINE).contains(child));
      assertTrue(holders(scratch.toString()).contains(child));
      List<ProcessHandle> begun = ProcessHandle.of(child).orElseThrow().descendants().toList();
      process.kill();
      assertTrue(begun.stream().noneMatch(ProcessHandle::isAlive), begun::toString);
    }
    assertFalse(ProcessHandle.of(child).isPresent());
    // Its machine was that process with its threads, and its disk, which had no name, was open
    // there alone; what it had locked can be locked.
    assertFalse(Files.exists(Path.of("/proc/" + child)));
    assertFalse(holders(MACHINE).contains(child));
    assertEquals(Set.of(), holders(scratch.toString()));
    assertEquals(List.of(), threadsOfTheKernelFor(child));
    try (Stream<Path> files = Files.walk(scratch)) {
      assertEquals(List.of(), files.filter(file -> file.toString().contains("scratch-")).toList());
    }
    try (Nacelle own =
            Nacelle.builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(scratch).build();
        Sandbox next =
            own.start(spec().writableLayer(WritableLayer.onDisk(DataSize.mebibytes(16))).build())) {
      assertEquals("next\n", next.exec("echo", "next").stdout().text());
    }
  }

  /** Other processes that have something open whose name begins so. */
  private static Set<Long> holders(String name) {
    Set<Long> holders = new HashSet<>();
    long own = ProcessHandle.current().pid();
    ProcessHandle.allProcesses()
        .map(ProcessHandle::pid)
        .filter(process -> process != own && opens(process, name))
        .forEach(holders::add);
    return holders;
  }

  private static boolean opens(long process, String name) {
    List<Path> descriptors;
    try (Stream<Path> open = Files.list(Path.of("/proc/" + process + "/fd"))) {
      descriptors = open.toList();
    } catch (IOException | UncheckedIOException e) {
      // It has ended, or is another user's.
      return false;
    }
    for (Path descriptor : descriptors) {
      try {
        if (Files.readSymbolicLink(descriptor).toString().startsWith(name)) {
          return true;
        }
      } catch (IOException e) {
        // It is closed.
      }
    }
    return false;
  }

  /** As kvm-pit/1234 and vhost-1234 (arch/x86/kvm/i8254.c, drivers/vhost/vhost.c). */
  private static List<String> threadsOfTheKernelFor(long process) {
    Pattern named = Pattern.compile("(kvm|vhost).*\\D" + process);
    return ProcessHandle.allProcesses()
        .map(each -> nameOf(each.pid()))
        .filter(name -> named.matcher(name).matches())
        .toList();
  }

  private static String nameOf(long process) {
    try {
      return Files.readString(Path.of("/proc/" + process + "/comm")).strip();
    } catch (IOException e) {
      // It has ended.
      return "";
    }
  }

  /** The process that is killed. */
  public static void main(String... arguments) throws InterruptedException {
    System.out.println(ProcessHandle.current().pid());
    Nacelle nacelle =
        Nacelle.builder()
            .cacheDirectory(TestKernels.CACHE)
            .scratchDirectory(Path.of(arguments[1]))
            .build();
    Sandbox sandbox =
        nacelle.start(
            spec(ImageRef.parse(arguments[0]))
                .writableLayer(WritableLayer.onDisk(DataSize.mebibytes(16)))
                .build());
    sandbox.start(ProcessSpec.of("sleep", "86400"));
    System.out.println(sandbox.exec("echo", "up").stdout().text().strip());
    Thread.currentThread().join();
  }
}
