// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.ImageRef;
import dev.nacelle.internal.Baseline;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.OptionalLong;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
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
 * What a user may rely on of a sandbox where the kernel has a part in it: real images, booted for
 * real. Each hypervisor's tests extend it for each kernel; what is the host's or the agent's doing,
 * whatever the kernel, is in {@link AbstractSandboxContractTest}.
 *
 * <p>All tests share two sandboxes, because a boot is slow where the processor is emulated. A test
 * may fill them, kill in them and write to them, as long as it leaves room for the others; only
 * what a sandbox does not outlive starts one of its own.
 */
@TestInstance(Lifecycle.PER_CLASS)
@Timeout(900)
public abstract class AbstractKernelContractTest {
  /** What a guest may take to power itself off, where it has to. */
  private static final Duration POWER_OFF = Duration.ofMinutes(3);

  /** For an event, however many others come before. */
  private static final Duration EVENT = Duration.ofMinutes(5);

  /**
   * Goes beyond the limit of processes and ends them all: again and again, since the last of them
   * may not be "sleep" yet when the first are killed.
   */
  private static final String FORK_BOMB =
      "(for i in $(seq 64); do sleep 86404 & done) 2>&1;"
          + " while busybox killall sleep 2> /dev/null; do :; done";

  private final String kernel;
  private final int cpus;

  private ImageRef image;
  private Baseline beforeAll;

  /** While only what all tests share runs. */
  private Baseline whileShared;

  Nacelle nacelle;

  /** What was told of all sandboxes. */
  private final BlockingQueue<SandboxEvent> heard = new LinkedBlockingQueue<>();

  /** As the image says, on a writable space of 16 MiB. */
  Sandbox sandbox;

  /**
   * With one processor, 128 MiB of memory, a disk, room for 32 processes, and all else than the
   * image says.
   */
  Sandbox other;

  /**
   * @param kernel as {@link dev.nacelle.kernel.KernelRef#parse} takes it
   */
  protected AbstractKernelContractTest(String kernel, int cpus) {
    this.kernel = kernel;
    this.cpus = cpus;
  }

  /** With the hypervisor that is tested; by default the one that works here. */
  protected Nacelle.Builder builder() {
    return Nacelle.builder();
  }

  /** {@link #sandbox}, for tests elsewhere. */
  protected Sandbox sandbox() {
    return sandbox;
  }

  /** Whether files of disks have names while their machines run. */
  protected boolean disksKeepTheirNames() {
    return false;
  }

  /** Whether the host tells how long machines ran, and what their disks did. */
  protected boolean hostCountsUse() {
    return true;
  }

  @BeforeAll
  void start(@TempDir Path directory) throws IOException {
    beforeAll = Baseline.now(TestKernels.CACHE);
    image = TestImages.busybox(directory.resolve("image"));
    nacelle = builder().cacheDirectory(TestKernels.CACHE).listener(heard::add).build();
    sandbox =
        nacelle.start(
            spec()
                .stopGrace(POWER_OFF)
                .hostname("box")
                .cpus(cpus)
                .writableLayer(WritableLayer.inMemory(DataSize.mebibytes(16)))
                .build());
    other =
        nacelle.start(
            spec()
                .stopGrace(POWER_OFF)
                .memory(DataSize.mebibytes(128))
                .writableLayer(WritableLayer.onDisk(DataSize.mebibytes(64)))
                .pidsLimit(32)
                .openFilesLimit(600)
                .environment("COLOUR", "green")
                .user("0:29")
                .workingDirectory("/made")
                .entrypoint("sh", "-c")
                .command(
                    "trap 'echo stopped; exit 9' QUIT; echo $COLOUR $(pwd) $(id -u) $(id -g);"
                        + " while :; do sleep 0.1; done")
                .stopSignal(Signal.QUIT)
                .build());
    whileShared = Baseline.now(TestKernels.CACHE);
  }

  /** Whatever a test starts, or fails to start, is gone after it: all but what all share. */
  @AfterEach
  void nothingIsLeft() throws Exception {
    whileShared.assertFilesAsBefore();
  }

  @AfterAll
  void closingHasTheGuestsPowerOffAndLeavesNoThread() throws Exception {
    sandbox.close();
    other.close();
    for (Sandbox closed : List.of(sandbox, other)) {
      SandboxExit exit = closed.onExit().join();
      assertEquals(SandboxExit.Reason.CLOSED, exit.reason());
      assertEquals(VmExit.Reason.POWER_OFF, exit.machine().orElseThrow().reason());
    }
    nacelle.close();
    beforeAll.assertThreadsEnded();
  }

  SandboxSpec.Builder spec() {
    return SandboxSpec.builder()
        .image(image)
        .kernel(kernel)
        .memory(DataSize.mebibytes(192))
        .startTimeout(Duration.ofMinutes(10))
        // Of an emulated machine, too, which powers itself off slowly.
        .stopGrace(Duration.ofSeconds(20));
  }

  String output(String... command) {
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
  void rootIsWritableAndTheImageStaysAsItWas() {
    String write = "echo changed > /etc/not-executable && cat /etc/not-executable";
    assertEquals("changed\n", other.exec("sh", "-c", write).stdout().text());
    assertEquals("#!/bin/sh\n", output("cat", "/etc/not-executable"));
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
    fillAndGoOn(sandbox, 15 << 20);
    assertEquals("still\n", other.exec("echo", "still").stdout().text());
  }

  @Test
  void fullDiskIsEnospcInTheGuestAndNothingElse() throws IOException {
    fillAndGoOn(other, 48 << 20);
    ProcessSpec reader =
        ProcessSpec.of("sh", "-c", "seq 100000 > /srv/n; busybox sync; sha256sum < /srv/n");
    assertEquals(
        sandbox.exec("sh", "-c", "seq 100000 | sha256sum").stdout(), other.exec(reader).stdout());
    assertEquals("still\n", output("echo", "still"));
    assertEquals(disksKeepTheirNames(), !scratchFiles().isEmpty());
  }

  /** Disks that have a name. */
  private static List<Path> scratchFiles() throws IOException {
    Path directory = TestKernels.CACHE.resolve("scratch");
    try (Stream<Path> named = Files.list(directory)) {
      return named.filter(file -> file.toString().contains("scratch-")).toList();
    }
  }

  @Test
  void outOfMemoryEndsWhoTookItAndIsTold() throws IOException {
    try (GuestProcess bystander = other.start(ProcessSpec.builder("cat").build())) {
      ExitStatus hit = other.exec("busybox", "tail", "/dev/zero").status();
      assertEquals(Signal.KILL, hit.signal().orElseThrow());
      assertTrue(hit.oomKilled() && !hit.oomKilledElsewhere());
      bystander.stdin().close();
      ExitStatus spared = bystander.waitFor();
      assertTrue(spared.succeeded());
      assertTrue(!spared.oomKilled() && spared.oomKilledElsewhere());
      long most = hit.treePeakMemory().orElseThrow().bytes();
      long least = spared.treePeakMemory().orElseThrow().bytes();
      assertTrue(most > 32 << 20 && 0 < least && least < 16 << 20, most + " " + least);
    }
    ExecResult next = other.exec("echo", "alive");
    assertEquals("alive\n", next.stdout().text());
    assertFalse(next.status().oomKilled());
  }

  @Test
  void processesHaveALimitAndTheirEndMakesRoom() {
    String output = other.exec("sh", "-c", FORK_BOMB).stdout().text();
    assertTrue(output.contains("can't fork: Resource temporarily unavailable"), output);
    assertEquals("room\n", other.exec("sh", "-c", "echo room | cat").stdout().text());
  }

  @Test
  void whatAProcessLeavesBehindIsListedAndKilled() {
    sandbox.exec("sh", "-c", "sleep 86406 > /dev/null 2>&1 &");
    GuestProcessInfo left =
        sandbox.processes().stream()
            .filter(process -> process.command().contains("86406"))
            .findFirst()
            .orElseThrow();
    assertFalse(left.running());
    sandbox.signal(left, Signal.KILL, SignalScope.TREE);
    while (sandbox.processes().stream().anyMatch(process -> process.id() == left.id())) {
      Thread.onSpinWait();
    }
  }

  /** Has a sandbox do something, of which its neighbour is to notice nothing meanwhile. */
  ExecResult besideItsNeighbour(Sandbox own, Sandbox neighbour, String script) {
    CompletableFuture<ExecResult> work = own.execAsync("sh", "-c", script);
    do {
      assertEquals("still\n", neighbour.exec("echo", "still").stdout().text());
    } while (!work.isDone());
    return work.join();
  }

  /** Waits for events of a sandbox, in whatever order they come. */
  private void awaitEvents(Sandbox of, List<Predicate<SandboxEvent>> wanted)
      throws InterruptedException {
    List<Predicate<SandboxEvent>> left = new ArrayList<>(wanted);
    long end = System.nanoTime() + EVENT.toNanos();
    while (!left.isEmpty()) {
      SandboxEvent event = next(end);
      left.removeIf(one -> event.sandboxId().equals(of.id()) && one.test(event));
    }
  }

  private SandboxEvent next(long end) throws InterruptedException {
    SandboxEvent event = heard.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
    assertNotNull(event, "it does not come");
    return event;
  }

  /** Waits for an event of that kind of a sandbox; passes over all that come before. */
  <T extends SandboxEvent> T awaitEvent(Sandbox of, Class<T> kind, Predicate<T> wanted)
      throws InterruptedException {
    long end = System.nanoTime() + EVENT.toNanos();
    while (true) {
      SandboxEvent event = next(end);
      if (event.sandboxId().equals(of.id())
          && kind.isInstance(event)
          && wanted.test(kind.cast(event))) {
        return kind.cast(event);
      }
    }
  }

  @Test
  void whatItUsesIsCountedByItsKernel() throws Exception {
    String write = "dd if=/dev/zero of=/srv/counted bs=65536 count=64 conv=fsync";
    other.exec("sh", "-c", write + " && busybox rm /srv/counted").orThrow();
    GuestStatistics before = other.guestStatistics();
    String work =
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; busybox head -c 20000000 /dev/zero | busybox tail -c 20000000 > /dev/null; busybox ping -c 2 -s 1000 127.0.0.1";
    other.exec("sh", "-c", work).orThrow();
    GuestStatistics after = other.guestStatistics();
    assertTrue(after.uptime().compareTo(before.uptime()) > 0);
    assertTrue(
        after.cpuTime().orElseThrow().compareTo(before.cpuTime().orElseThrow()) > 0,
        () -> before + " then " + after);
    assertTrue(after.userCpuTime().isPresent() && after.systemCpuTime().isPresent());
    assertTrue(after.memory().orElseThrow().bytes() > 0);
    after.memoryPeak().ifPresent(peak -> assertTrue(peak.bytes() > 20_000_000, peak::toString));
    assertTrue(after.memoryLimit().orElseThrow().bytes() < 128 << 20);
    assertTrue(after.anonymousMemory().isPresent() && after.fileMemory().isPresent());
    assertTrue(after.oomKills().isPresent());
    assertEquals(OptionalLong.of(32), after.processLimit());
    assertTrue(after.processes().orElseThrow() >= 1);
    assertTrue(after.imageDisk().orElseThrow().read().bytes() > 0);
    assertTrue(after.scratchDisk().orElseThrow().written().bytes() >= 4 << 20, after::toString);
    assertTrue(after.cpuPressure().isPresent() && after.ioPressure().isPresent());
    assertTrue(after.memoryPressure().orElseThrow().full().isPresent());
    NetworkUse.Traffic pings = after.interfaces().get("lo").received();
    assertTrue(pings.packets() >= 4 && pings.size().bytes() > 4000, pings::toString);
    assertEquals(pings, after.interfaces().get("lo").sent());
    assertTrue(after.openFiles().orElseThrow() > 0);
    assertTrue(after.openFilesLimit().orElseThrow() > 600);
    assertTrue(after.availableMemory().orElseThrow().bytes() > 0 && after.load().isPresent());
    VmStatistics host = other.statistics();
    if (hostCountsUse()) {
      assertTrue(host.disks().get("scratch").written().bytes() >= 4 << 20);
      assertTrue(host.cpuTime().orElseThrow().compareTo(Duration.ZERO) > 0);
      long resident = host.memory().orElseThrow().bytes();
      assertTrue(resident > 20 << 20 && resident <= other.spec().memory().bytes(), host::toString);
    } else {
      assertTrue(host.disks().isEmpty() && host.cpuTime().isEmpty(), host::toString);
      assertTrue(host.memory().isEmpty(), host::toString);
    }
    BlockingQueue<GuestStatistics> readings = new LinkedBlockingQueue<>();
    try (Sandbox.StatisticsStream stream =
        other.streamGuestStatistics(Duration.ofMillis(100), readings::add)) {
      Duration first = readings.take().uptime();
      assertTrue(readings.take().uptime().compareTo(first) > 0);
    }
  }

  @Test
  void whatHappensInItIsTold() throws Exception {
    // In a second of its own: of the kernel's warnings twenty are told in one.
    other.exec("sh", "-c", "sleep 2; busybox tail /dev/zero; exit 7");
    long id =
        awaitEvent(
                other,
                SandboxEvent.ProcessStarted.class,
                event -> event.command().contains("tail /dev/zero; exit 7"))
            .processId();
    awaitEvents(
        other,
        List.of(
            event -> event instanceof SandboxEvent.OomKilled kill && kill.processId() == id,
            event ->
                event instanceof SandboxEvent.KernelWarning warning
                    && warning.level() == 4
                    && warning.message().contains("invoked oom-killer"),
            event ->
                event instanceof SandboxEvent.ProcessExited exit
                    && exit.processId() == id
                    && exit.status().exitCode() == 7,
            event -> event instanceof SandboxEvent.ProcessTreeEnded end && end.processId() == id));

    other.exec("sh", "-c", FORK_BOMB);
    var reached =
        awaitEvent(
            other,
            SandboxEvent.LimitReached.class,
            event -> event.limit() == SandboxEvent.Limit.PIDS);
    String open = "i=10; while [ $i -lt 1000 ]; do eval \"exec $i< /etc/passwd\"; i=$((i+1)); done";
    String said = other.exec("busybox", "sh", "-c", open).stderr().text();
    assertTrue(said.contains("in system"), said);
    awaitEvent(
        other,
        SandboxEvent.LimitReached.class,
        event -> event.limit() == SandboxEvent.Limit.OPEN_FILES);
    assertTrue(reached.times() > 0);

    // No other test fills its shared memory. Of its root, which another has filled, it is told
    // again once the agent has seen room there: where it looks at both, it has by the first event.
    assertFullIsTold("/dev/shm/full", SandboxEvent.Filesystem.SHARED_MEMORY);
    assertFullIsTold("/tmp/full", SandboxEvent.Filesystem.ROOT);
  }

  private void assertFullIsTold(String file, SandboxEvent.Filesystem which) throws Exception {
    besideItsNeighbour(other, sandbox, "dd if=/dev/zero of=" + file + " bs=65536");
    awaitEvent(other, SandboxEvent.FilesystemFull.class, event -> event.filesystem() == which);
    other.exec("busybox", "rm", file).orThrow();
  }

  @Test
  void timeoutKillsInTheGuest() {
    ExecResult result =
        sandbox.exec(ProcessSpec.builder("sleep", "86401").timeout(Duration.ofMillis(500)).build());
    assertTrue(result.status().timedOut());
    assertEquals(Signal.KILL, result.status().signal().orElseThrow());
    assertFalse(output("ps").contains("86401"));
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
  void stdinVeryLarge() throws Exception {
    byte[] content = new byte[4 << 20];
    new Random(1).nextBytes(content);
    ExecResult result = sandbox.exec(ProcessSpec.builder("sha256sum").stdin(content).build());
    String expected =
        HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    assertEquals(expected + "  -\n", result.stdout().text());
  }

  @Test
  void workloadCannotMountOrSeeTheHostOfItsProcesses() {
    ExecResult mount =
        sandbox.exec(ProcessSpec.builder("mount", "-t", "tmpfs", "none", "/srv").user("0").build());
    assertEquals(1, mount.exitCode(), mount::toString);
    assertEquals("mount: permission denied (are you root?)\n", mount.stderr().text());
    assertFalse(output("ps").contains("kthreadd"));
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
  void guestWithTooLittleMemoryIsRefusedOrToldToNeedMore() {
    SandboxSpec spec = spec().memory(SandboxSpec.MINIMUM_MEMORY).build();
    NacelleException e = assertThrows(NacelleException.class, () -> nacelle.start(spec));
    assertTrue(e.getMessage().contains("memory"), e::getMessage);
  }
}
