// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.OpenFiles;
import dev.nacelle.kernel.TestKernels;
import dev.nacelle.spi.VmExit;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a user may rely on of a sandbox, whatever the hypervisor and the kernel: real images, booted
 * for real. Each hypervisor's tests extend it, for each kernel. What only looks at the sandbox
 * shares one, because a boot is slow where the processor is emulated.
 */
@TestInstance(Lifecycle.PER_CLASS)
@Timeout(900)
public abstract class AbstractSandboxContractTest {
  private final String kernel;
  private final int cpus;

  private ImageRef image;
  private Nacelle nacelle;
  private Sandbox sandbox;
  private Map<String, Integer> held;

  /**
   * @param kernel as {@link dev.nacelle.kernel.KernelRef#parse} takes it
   */
  protected AbstractSandboxContractTest(String kernel, int cpus) {
    this.kernel = kernel;
    this.cpus = cpus;
  }

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    image = TestImages.busybox(directory.resolve("image"));
    nacelle = Nacelle.builder().cacheDirectory(TestKernels.CACHE).build();
    sandbox = nacelle.start(spec().hostname("box").cpus(cpus).build());
    held = held();
  }

  /** Whatever a test starts, or fails to start, is gone after it: all but what all share. */
  @AfterEach
  void nothingIsLeft() throws Exception {
    // What is cancelled or killed may still be on its way out.
    for (long end = System.nanoTime() + 60_000_000_000L; System.nanoTime() < end; ) {
      if (held().equals(held)) {
        return;
      }
      Thread.sleep(10);
    }
    assertEquals(held, held());
  }

  /**
   * How many open files and mappings this process has of what machines are made of: files without a
   * name, which are KVM's, events and what was deleted, and those of the cache directory.
   */
  private static Map<String, Integer> held() throws IOException {
    List<String> names = new ArrayList<>();
    OpenFiles.targets().forEach(file -> names.add(file.toString()));
    Files.readAllLines(Path.of("/proc/self/maps")).stream()
        .map(line -> line.split(" +", 6))
        .filter(words -> words.length > 5)
        .forEach(words -> names.add("mapped " + words[5]));
    Map<String, Integer> held = new TreeMap<>();
    for (String name : names) {
      if (name.contains("anon_inode:")
          || name.contains("(deleted)")
          || name.contains(TestKernels.CACHE.toString())) {
        held.merge(name, 1, Integer::sum);
      }
    }
    return held;
  }

  @AfterAll
  void closingLeavesNoThread() throws InterruptedException {
    nacelle.close();
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("nacelle-")) {
        // An executor counts its threads as ended a moment before they are.
        thread.join(60_000);
        assertFalse(thread.isAlive(), thread.getName());
      }
    }
  }

  private SandboxSpec.Builder spec() {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(192))
        .timeout(Duration.ofMinutes(10));
  }

  private String output(String... command) {
    ExecResult result = sandbox.exec(command);
    assertEquals("", result.stderr().text());
    assertEquals(0, result.exitCode(), result::toString);
    return result.stdout().text();
  }

  @Test
  void runsTheKernelThatWasAskedFor() {
    String release = output("uname", "-r").strip();
    assertTrue(release.startsWith(kernel.substring(kernel.indexOf(':') + 1) + "."), release);
    assertEquals(release, sandbox.info().kernelRelease());
    assertEquals(release, sandbox.info().bootedRelease());
    assertEquals(sandbox.info().bootedVersion() + "\n", output("uname", "-v"));
    assertTrue(sandbox.info().runsBootedKernel());
  }

  @Test
  void seesAsManyCpusAsWereAskedFor() {
    assertEquals(cpus, Integer.parseInt(output("nproc").strip()));
  }

  @Test
  void hasTheHostNameThatWasAskedFor() {
    assertEquals("box\n", output("uname", "-n"));
  }

  @Test
  void environmentWorkingDirectoryAndUserAreTheImages() {
    assertEquals(
        "blue /srv app apps\n", output("sh", "-c", "echo $COLOUR $(pwd) $(id -un) $(id -gn)"));
  }

  @Test
  void environmentWorkingDirectoryAndUserCanBeOverridden() {
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("sh", "-c", "echo $COLOUR $(pwd) $(id -u)")
                .environment("COLOUR", "red")
                .workingDirectory("/tmp")
                .user("0")
                .build());
    assertEquals("red /tmp 0\n", result.stdout().text());
  }

  @Test
  void userHasTheGroupsOfTheImage() {
    assertEquals("1001 29\n", output("id", "-G"));
    ProcessSpec spec = ProcessSpec.builder("id", "-G").user("app:0").build();
    assertEquals("0\n", sandbox.exec(spec).stdout().text());
  }

  @Test
  void workingDirectoryThatIsNotThereIsCreated() {
    ProcessSpec spec =
        ProcessSpec.builder("sh", "-c", "pwd; touch file")
            .workingDirectory("/srv/a/b")
            .user("0")
            .build();
    assertEquals("/srv/a/b\n", sandbox.exec(spec).stdout().text());
  }

  @Test
  void whatTheImageSaysCanBeRead() {
    ImageConfig config = sandbox.info().imageConfig();
    assertEquals("SIGUSR1", config.stopSignal());
    assertEquals(Map.of("maker", "tests"), config.labels());
    assertEquals(Set.of("/srv/data"), config.volumes());
    assertEquals(Set.of("80/tcp"), config.exposedPorts());
  }

  @Test
  void whatTheImageSaysCanBeOverriddenForTheSandbox() throws IOException {
    SandboxSpec spec =
        spec()
            .environment("COLOUR", "green")
            .user("0:29")
            .workingDirectory("/made")
            .entrypoint("sh", "-c")
            .command(
                "trap 'echo stopped; exit 9' QUIT; echo $COLOUR $(pwd) $(id -u) $(id -g);"
                    + " while :; do sleep 0.1; done")
            .stopSignal(Signal.QUIT)
            .build();
    try (Sandbox own = nacelle.start(spec);
        GuestProcess process = own.start(ProcessSpec.entrypoint().build())) {
      String expected = "green /made 0 29\n";
      byte[] line = process.stdout().readNBytes(expected.length());
      assertEquals(expected, new String(line, StandardCharsets.UTF_8));
      assertEquals(9, process.stop(Duration.ofMinutes(10)).exitCode());
      assertEquals(
          "stopped\n", new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  /** Writes until there is no more room, and then goes on. */
  private static void fillAndGoOn(Sandbox sandbox, long atLeast) {
    ProcessSpec fill =
        ProcessSpec.builder("dd", "if=/dev/zero", "of=/tmp/fill", "bs=65536").user("0").build();
    ExecResult full = sandbox.exec(fill);
    assertEquals(1, full.exitCode(), full::toString);
    String message = full.stderr().text();
    assertTrue(message.contains("No space left on device"), message);
    String size = sandbox.exec("sh", "-c", "wc -c < /tmp/fill").stdout().text().strip();
    assertTrue(Long.parseLong(size) >= atLeast, size);
    String rest = "busybox rm /tmp/fill && echo more > /tmp/more && cat /tmp/more";
    assertEquals(
        "more\n",
        sandbox.exec(ProcessSpec.builder("sh", "-c", rest).user("0").build()).stdout().text());
  }

  @Test
  void fullWritableSpaceIsEnospcInTheGuestAndNothingElse() {
    try (Sandbox own = nacelle.start(spec().writableSpace(DataSize.mebibytes(16)).build())) {
      fillAndGoOn(own, 15 << 20);
      assertEquals("still\n", output("echo", "still"));
    }
  }

  @Test
  void fullDiskIsEnospcInTheGuestAndNothingElse() throws IOException {
    DataSize size = DataSize.mebibytes(256);
    try (Sandbox own = nacelle.start(spec().disk(size).build())) {
      // More than the machine has memory.
      fillAndGoOn(own, 200 << 20);
      ProcessSpec reader =
          ProcessSpec.builder("sh", "-c", "seq 100000 > /srv/n; busybox sync; sha256sum < /srv/n")
              .user("0")
              .build();
      assertEquals(
          own.exec("sh", "-c", "seq 100000 | sha256sum").stdout(), own.exec(reader).stdout());
      assertEquals("still\n", output("echo", "still"));
    }
    assertEquals(List.of(), scratchFiles());
  }

  /** Disks that have a name. */
  private static List<Path> scratchFiles() throws IOException {
    Path directory = TestKernels.CACHE.resolve("scratch");
    try (Stream<Path> named = Files.list(directory)) {
      return named.filter(file -> file.toString().contains("scratch-")).toList();
    }
  }

  @Test
  void fullDiskOfTheHostIsAnErrorInThatGuestAndNothingElse(@TempDir Path small) throws IOException {
    Tool.run(small, "mount", "-t", "tmpfs", "-o", "size=16m", "none", small.toString());
    try (Nacelle other =
            Nacelle.builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(small).build();
        Sandbox own = other.start(spec().disk(DataSize.gibibytes(4)).build())) {
      ProcessSpec fill =
          ProcessSpec.builder(
                  "dd", "if=/dev/zero", "of=/tmp/fill", "bs=1M", "count=64", "conv=fsync")
              .user("0")
              .build();
      ExecResult failed = own.exec(fill);
      assertTrue(failed.exitCode() != 0, failed::toString);
      assertEquals("still\n", output("echo", "still"));
      assertEquals("alive\n", own.exec("echo", "alive").stdout().text());
    } finally {
      Tool.run(small.getParent(), "umount", small.toString());
    }
  }

  @Test
  void entrypointRunsWithTheImagesCommandOrOnesOwn() {
    assertEquals(
        "entrypoint cmd\n", sandbox.exec(ProcessSpec.entrypoint().build()).stdout().text());
    assertEquals(
        "entrypoint own\n", sandbox.exec(ProcessSpec.entrypoint("own").build()).stdout().text());
  }

  @Test
  void stdoutAndStderrAreApart() {
    ExecResult result = sandbox.exec("sh", "-c", "echo out; echo err >&2");
    assertEquals("out\n", result.stdout().text());
    assertEquals("err\n", result.stderr().text());
  }

  @Test
  void exitCodesArrive() {
    for (int code : new int[] {0, 1, 42, 255}) {
      assertEquals(code, sandbox.exec("sh", "-c", "exit " + code).exitCode());
    }
  }

  @Test
  void endByASignalIsToldAsAShellDoes() {
    ExitStatus status = sandbox.exec("sh", "-c", "kill -9 $$").status();
    assertEquals(Signal.KILL, status.signal().orElseThrow());
    assertEquals(137, status.exitCode());
  }

  @Test
  void commandThatDoesNotExistIs127() {
    ExecResult result = sandbox.exec("no-such-command");
    assertEquals(127, result.exitCode());
    assertTrue(result.stderr().text().contains("no-such-command"), result.stderr().text());
  }

  @Test
  void commandThatIsNotExecutableIs126() {
    ExecResult result = sandbox.exec("/etc/not-executable");
    assertEquals(126, result.exitCode());
    assertTrue(result.stderr().text().contains("/etc/not-executable"), result.stderr().text());
  }

  @Test
  void userThatDoesNotExistIsAnError() {
    ProcessSpec spec = ProcessSpec.builder("true").user("nobody-here").build();
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec(spec));
    assertEquals(ProcessException.Reason.UNKNOWN_USER, e.reason());
  }

  @Test
  void stdinVeryLarge() throws Exception {
    byte[] content = new byte[4 << 20];
    new Random(1).nextBytes(content);
    ExecResult result = sandbox.exec(ProcessSpec.builder("sha256sum").stdin(content).build());
    String expected =
        HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    assertEquals(expected + "  -\n", result.stdout().text());
  }

  @Test
  void outputVeryLarge() {
    byte[] expected = new byte[10 << 20];
    ExecResult result = sandbox.exec("head", "-c", "" + expected.length, "/dev/zero");
    assertArrayEquals(expected, result.stdout().bytes());
    assertFalse(result.stdout().truncated());
  }

  @Test
  void outputOfTheFastestCommandIsNeverLost() {
    for (int i = 0; i < 50; i++) {
      assertEquals(i + "\n", output("echo", "" + i));
    }
  }

  @Test
  void manyProcessesAtOnce() {
    List<CompletableFuture<ExecResult>> running = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      running.add(sandbox.execAsync(ProcessSpec.of("sh", "-c", "cat /dev/null; echo " + i)));
    }
    for (int i = 0; i < 16; i++) {
      assertEquals(i + "\n", running.get(i).join().stdout().text());
    }
  }

  @Test
  void stdinAndStdoutStream() throws IOException {
    try (GuestProcess cat = sandbox.start(ProcessSpec.of("cat"))) {
      OutputStream stdin = cat.stdin();
      for (String line : List.of("one\n", "two\n")) {
        stdin.write(line.getBytes(StandardCharsets.UTF_8));
        stdin.flush();
        assertEquals(line, new String(cat.stdout().readNBytes(4), StandardCharsets.UTF_8));
      }
      stdin.close();
      assertEquals(-1, cat.stdout().read());
      assertEquals(0, cat.waitFor().exitCode());
    }
  }

  @Test
  void timeoutKillsInTheGuest() {
    ExecResult result =
        sandbox.exec(ProcessSpec.builder("sleep", "86401").timeout(Duration.ofMillis(500)).build());
    assertTrue(result.status().timedOut());
    assertFalse(output("ps").contains("86401"));
  }

  @Test
  void closingAProcessKillsItInTheGuestWithItsChildren() {
    GuestProcess shell = sandbox.start(ProcessSpec.of("sh", "-c", "sleep 86402 & wait"));
    shell.close();
    shell.onExit().join();
    assertFalse(output("ps").contains("86402"));
  }

  @Test
  void signalsReachTheProcess() {
    try (GuestProcess sleep = sandbox.start(ProcessSpec.of("sleep", "86403"))) {
      sleep.signal(Signal.TERM);
      assertEquals(Signal.TERM, sleep.waitFor().signal().orElseThrow());
    }
  }

  @Test
  void terminalHasItsSizeAndIsResized() throws IOException {
    ProcessSpec spec =
        ProcessSpec.builder("sh", "-c", "stty size; read line; stty size")
            .terminal(new TerminalSize(30, 100))
            .build();
    try (GuestProcess shell = sandbox.start(spec)) {
      assertEquals("30 100\r\n", new String(shell.stdout().readNBytes(8), StandardCharsets.UTF_8));
      shell.resize(new TerminalSize(40, 120));
      shell.stdin().write('\n');
      shell.stdin().flush();
      String rest = new String(shell.stdout().readAllBytes(), StandardCharsets.UTF_8);
      assertTrue(rest.endsWith("40 120\r\n"), rest);
    }
  }

  @Test
  void outOfMemoryEndsWhoTookItAndIsTold() {
    try (Sandbox own = nacelle.start(spec().build())) {
      ExecResult result = own.exec("busybox", "tail", "/dev/zero");
      assertEquals(Signal.KILL, result.status().signal().orElseThrow());
      assertTrue(result.status().oomKilled());
      ExecResult next = own.exec("echo", "alive");
      assertEquals("alive\n", next.stdout().text());
      assertFalse(next.status().oomKilled());
    }
  }

  @Test
  void processesHaveALimitAndTheirEndMakesRoom() {
    String script =
        "(for i in $(seq 64); do sleep 86404 & done) 2>&1; busybox killall sleep;"
            + " while busybox pidof sleep > /dev/null; do :; done";
    try (Sandbox own = nacelle.start(spec().pidsLimit(32).build())) {
      String output = own.exec("sh", "-c", script).stdout().text();
      assertTrue(output.contains("can't fork: Resource temporarily unavailable"), output);
      assertEquals("room\n", own.exec("sh", "-c", "echo room | cat").stdout().text());
    }
  }

  @Test
  void rootIsWritableAndTheImageStaysAsItWas() {
    ProcessSpec write =
        ProcessSpec.builder("sh", "-c", "echo changed > /etc/group && cat /etc/group")
            .user("0")
            .build();
    try (Sandbox other = nacelle.start(spec().build())) {
      assertEquals("changed\n", other.exec(write).stdout().text());
    }
    assertTrue(output("cat", "/etc/group").startsWith("root:"));
  }

  @Test
  void workloadCannotMountOrSeeTheHostOfItsProcesses() {
    ExecResult mount =
        sandbox.exec(ProcessSpec.builder("mount", "-t", "tmpfs", "none", "/srv").user("0").build());
    assertTrue(mount.exitCode() != 0);
    assertFalse(output("ps").contains("kthreadd"));
  }

  @Test
  void closingHasTheGuestPowerOff() {
    Sandbox own = nacelle.start(spec().build());
    own.close();
    assertEquals(VmExit.Reason.POWER_OFF, own.onExit().join().reason());
  }

  @Test
  void guestThatPanicsIsToldWithItsConsole() {
    // More arguments for init than the kernel has room for (MAX_INIT_ARGS of init/main.c).
    SandboxSpec spec = spec().kernelParameters("argument ".repeat(100)).build();
    BootException e = assertThrows(BootException.class, () -> nacelle.start(spec));
    assertTrue(e.console().contains("Kernel panic"), e::getMessage);
    assertTrue(e.getMessage().contains("Kernel panic"), e::getMessage);
  }

  @Test
  void guestThatIsNotReadyInTimeIsGivenUp() {
    SandboxSpec spec = spec().timeout(Duration.ofMillis(100)).build();
    BootException e = assertThrows(BootException.class, () -> nacelle.start(spec));
    assertTrue(e.timedOut());
  }

  @Test
  void guestWithTooLittleMemoryIsRefusedOrToldToNeedMore() {
    SandboxSpec spec = spec().memory(SandboxSpec.MINIMUM_MEMORY).build();
    NacelleException e = assertThrows(NacelleException.class, () -> nacelle.start(spec));
    assertTrue(e.getMessage().contains("memory"), e::getMessage);
  }

  @Test
  void startThatIsCancelledLeavesNothing() {
    CompletableFuture<Sandbox> start = nacelle.startAsync(spec().name("cancelled").build());
    start.cancel(true);
    try (Sandbox other = nacelle.start(spec().build())) {
      assertEquals(0, other.exec("true").exitCode());
    }
  }
}
