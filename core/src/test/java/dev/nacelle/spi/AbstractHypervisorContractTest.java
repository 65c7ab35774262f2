// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.DataSize;
import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.VmStatistics;
import dev.nacelle.internal.Baseline;
import dev.nacelle.kernel.store.ResolvedKernel;
import dev.nacelle.kernel.store.TestKernels;
import java.io.IOException;
import java.net.ConnectException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a hypervisor must do, whichever it is: run by a subclass in the hypervisor's module. Most
 * tests share one guest, for booting takes longest.
 */
@Tag("boot")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@Timeout(600)
public abstract class AbstractHypervisorContractTest {
  private static final int MEBIBYTES = 192;
  private static final int CPUS = 2;
  private static final int DISK_BYTES = 1 << 20;

  /** So many that the memory of half of them would be found among all else that a process has. */
  private static final int REFUSALS = 8;

  @TempDir static Path directory;

  private Hypervisor hypervisor;
  private ContractGuest guest;
  private long bootedAfter;
  private Path readOnly;
  private Path writable;
  private byte[] readOnlyContent;

  private List<String> names;

  protected AbstractHypervisorContractTest() {}

  /** What not every hypervisor can: the test class of one that cannot says so, and why. */
  public enum Ability {
    /** Counts why guests' processors were left. */
    COUNTS_EXITS,
    /** Tells a reset that the guest asked for from its power-off. */
    TELLS_RESETS,
    /** Leaves images without a byte more than they had. */
    LEAVES_IMAGES_ALONE,
    /** Stops guests' clocks while they are paused. */
    STOPS_CLOCKS
  }

  /** The hypervisor that is tested. */
  protected abstract HypervisorProvider provider();

  /** What it cannot. */
  protected Set<Ability> inabilities() {
    return Set.of();
  }

  private boolean can(Ability ability) {
    return !inabilities().contains(ability);
  }

  /** What its guests run. */
  protected ResolvedKernel kernel() {
    return TestKernels.debian61();
  }

  private VmSpec spec(String name, String parameters, int cpus, VmSpec.Disk... disks)
      throws IOException {
    ResolvedKernel kernel = kernel();
    VmSpec.Linux linux =
        VmSpec.Linux.builder(kernel.vmlinux())
            .initramfs(ContractGuest.initramfs(kernel, provider().drivers()))
            .parameters(parameters)
            .build();
    return VmSpec.builder(name, linux, DataSize.mebibytes(MEBIBYTES))
        .cpus(cpus)
        .disks(List.of(disks))
        .build();
  }

  @BeforeAll
  void bootTheGuestThatMostTestsShare() throws Exception {
    hypervisor = provider().open();
    readOnlyContent = new byte[DISK_BYTES];
    new Random(1).nextBytes(readOnlyContent);
    readOnly = Files.write(directory.resolve("read-only"), readOnlyContent);
    writable = Files.write(directory.resolve("writable"), new byte[2 * DISK_BYTES]);
    bootedAfter = System.nanoTime();
    VmSpec spec =
        spec(
            "contract",
            "",
            CPUS,
            VmSpec.Disk.of("first-serial", readOnly, true),
            VmSpec.Disk.of("another-serial-of-20", writable, false));
    names = hypervisor.guestDisks(spec).stream().map(ContractGuest::name).toList();
    guest = ContractGuest.boot(hypervisor.create(spec));
  }

  @AfterAll
  void closeEverything() {
    if (hypervisor != null) {
      hypervisor.close();
    }
  }

  private VirtualMachine create(String name, String parameters) throws IOException {
    return hypervisor.create(spec(name, parameters, 1));
  }

  private static String hash(byte[] bytes) {
    long hash = 0xcbf2_9ce4_8422_2325L;
    for (byte b : bytes) {
      hash = (hash ^ (b & 0xff)) * 0x0000_0100_0000_01b3L;
    }
    return String.format("%016x", hash);
  }

  private static byte[] random(int seed, int length) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  @Test
  void hostIsFoundUsable() {
    HostCheck check = provider().check();
    assertTrue(check.usable(), check::toString);
    assertEquals(provider().name(), check.hypervisor());
  }

  @Test
  void guestRunsTheKernelOfTheSpecification() throws Exception {
    assertEquals(kernel().version(), guest.ask("release"));
  }

  @Test
  void guestsClockStandsWhileItsMachineDoes() throws Exception {
    VirtualMachine machine = guest.machine();
    assumeTrue(machine.abilities().contains(VirtualMachine.Ability.PAUSE));
    long start = System.nanoTime();
    long before = Long.parseLong(guest.ask("clock"));
    long paused = 0;
    for (int round = 0; round < 3; round++) {
      machine.pause();
      long pausedAt = System.nanoTime();
      Thread.sleep(2000);
      paused += System.nanoTime() - pausedAt;
      machine.resume();
    }
    long clock = Long.parseLong(guest.ask("clock")) - before;
    long all = System.nanoTime() - start;
    assertTrue(clock > 0, () -> clock + " ns");
    // Six seconds of pauses; the clocks of both may differ a little in their pace.
    long most = can(Ability.STOPS_CLOCKS) ? all - paused : all;
    assertTrue(
        clock < most + 1_000_000_000L,
        clock + " ns of " + all + ", of which " + paused + " paused");
  }

  @Test
  void whatIsSaidToAPausedGuestIsHeardWhenItGoesOn() throws Exception {
    VirtualMachine machine = guest.machine();
    assumeTrue(machine.abilities().contains(VirtualMachine.Ability.PAUSE));
    machine.pause();
    CompletableFuture<String> answer = CompletableFuture.supplyAsync(() -> ask("release"));
    Thread.sleep(500);
    assertFalse(answer.isDone());
    machine.resume();
    assertEquals(kernel().version(), answer.get());
  }

  private String ask(String command) {
    try {
      return guest.ask(command);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void guestHasTheProcessorsOfTheSpecification() throws Exception {
    assertEquals(String.valueOf(CPUS), guest.ask("cpus"));
  }

  @Test
  void guestHasTheMemoryOfTheSpecificationLessWhatItsKernelTakes() throws Exception {
    long bytes = Long.parseLong(guest.ask("memory"));
    assertTrue(bytes <= (long) MEBIBYTES << 20, () -> bytes + " bytes");
    assertTrue(bytes >= (long) (MEBIBYTES - 64) << 20, () -> bytes + " bytes");
  }

  @Test
  void disksAreFoundWhereTheHypervisorSaysWithTheirSizes() throws Exception {
    List<String> disks =
        List.of(
            names.get(0) + ":" + DISK_BYTES + ":ro", names.get(1) + ":" + 2 * DISK_BYTES + ":rw");
    assertEquals(disks.stream().sorted().collect(Collectors.joining(" ")), guest.ask("disks"));
  }

  @Test
  void eachDiskIsFoundInAWayOfItsOwn() throws Exception {
    VmSpec.Disk[] disks = {
      VmSpec.Disk.of("first", readOnly, true), VmSpec.Disk.of("second", writable, false)
    };
    VmSpec spec = spec("disks", "", 1, disks);
    assertEquals(2, Set.copyOf(hypervisor.guestDisks(spec)).size());
    assertEquals(List.of(), hypervisor.guestDisks(spec("diskless", "", 1)));
  }

  @Test
  void guestReadsWhatIsInTheDisksFile() throws Exception {
    assertEquals(hash(readOnlyContent), guest.ask("hash " + names.get(0)));
  }

  @Test
  void writeToAReadOnlyDiskFailsAndTheFileIsUnchanged() throws Exception {
    String answer = guest.ask("write " + names.get(0) + " 4096 255 4096");
    assertTrue(answer.startsWith("errno "), answer);
    assertArrayEquals(readOnlyContent, content(readOnly, DISK_BYTES));
  }

  @Test
  void writeToAWritableDiskIsInItsFileAndNowhereElseInIt() throws Exception {
    assertEquals("ok", guest.ask("write " + names.get(1) + " 8192 171 4096"));
    byte[] expected = new byte[2 * DISK_BYTES];
    Arrays.fill(expected, 8192, 12288, (byte) 171);
    assertArrayEquals(expected, content(writable, 2 * DISK_BYTES));
  }

  /** The image's own bytes. */
  private byte[] content(Path image, int size) throws IOException {
    byte[] all = Files.readAllBytes(image);
    return can(Ability.LEAVES_IMAGES_ALONE) ? all : Arrays.copyOf(all, size);
  }

  @Test
  void hostConnectsToTheGuestAndBytesComeBackUnharmed() throws Exception {
    assertEquals("ok", guest.ask("listen 2000 echo"));
    try (BlockingConnection connection = guest.connect(2000)) {
      assertEquals(2000, connection.connection().guestPort());
      byte[] sent = random(2, 3 << 20);
      CompletableFuture<Void> writer = writeAndEnd(connection, sent);
      assertArrayEquals(sent, connection.readAll());
      writer.get();
    }
  }

  private static CompletableFuture<Void> writeAndEnd(BlockingConnection connection, byte[] bytes) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    Thread writer =
        new Thread(
            () -> {
              try {
                connection.write(bytes);
                connection.connection().shutdownOutput();
                done.complete(null);
              } catch (Throwable e) {
                done.completeExceptionally(e);
              }
            });
    writer.setDaemon(true);
    writer.start();
    return done;
  }

  @Test
  void guestConnectsToTheHostAndBytesComeBackUnharmed() throws Exception {
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    try (VirtualMachine.Listener listener = guest.machine().listen(3000, accepted::add)) {
      assertEquals("ok", guest.ask("connect 3000 echo"));
      try (BlockingConnection connection = new BlockingConnection(accepted.take())) {
        assertEquals(3000, connection.connection().hostPort());
        byte[] sent = random(3, 1 << 20);
        CompletableFuture<Void> writer = writeAndEnd(connection, sent);
        assertArrayEquals(sent, connection.readAll());
        writer.get();
      }
    }
  }

  @Test
  void endOfTheHostsOutputIsReadByTheGuestWhichThenAnswers() throws Exception {
    assertEquals("ok", guest.ask("listen 2001 sink"));
    try (BlockingConnection connection = guest.connect(2001)) {
      byte[] sent = random(4, 500_001);
      connection.write(sent);
      connection.connection().shutdownOutput();
      connection.connection().shutdownOutput();
      assertEquals(sent.length + " " + hash(sent), connection.readLine());
      assertEquals(-1, connection.read(ByteBuffer.allocate(1)));
      assertThrows(IOException.class, () -> connection.write(new byte[1]));
    }
  }

  @Test
  void endOfTheGuestsOutputLeavesTheOtherDirectionOpen() throws Exception {
    assertEquals("ok", guest.ask("listen 2002 source:1000003"));
    try (BlockingConnection connection = guest.connect(2002)) {
      byte[] expected = new byte[1_000_003];
      for (int i = 0; i < expected.length; i++) {
        expected[i] = (byte) (i % 251);
      }
      assertArrayEquals(expected, connection.readAll());
      byte[] sent = random(5, 500_001);
      connection.write(sent);
      connection.connection().shutdownOutput();
      assertEquals(sent.length + " " + hash(sent), guest.ask("heard 2002"));
    }
  }

  @Test
  void guestThatClosesIsNoticedByReadingAndWriting() throws Exception {
    assertEquals("ok", guest.ask("listen 2003 drop"));
    try (BlockingConnection connection = guest.connect(2003)) {
      assertEquals(-1, connection.read(ByteBuffer.allocate(1)));
      // What was taken before the guest's reset came is lost, as on any connection.
      assertThrows(
          IOException.class,
          () -> {
            while (true) {
              connection.write(new byte[64 * 1024]);
            }
          });
    }
  }

  @Test
  void manyConnectionsAreOpenAtOnceAndKeptApart() throws Exception {
    assertEquals("ok", guest.ask("listen 2004 echo"));
    List<BlockingConnection> connections = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      connections.add(guest.connect(2004));
    }
    Set<Integer> hostPorts = new HashSet<>();
    for (int i = 0; i < 64; i++) {
      hostPorts.add(connections.get(i).connection().hostPort());
      connections.get(i).write(("connection " + i + "\n").getBytes(StandardCharsets.UTF_8));
    }
    assertEquals(64, hostPorts.size());
    for (int i = 63; i >= 0; i--) {
      assertEquals("connection " + i, connections.get(i).readLine());
      connections.get(i).close();
    }
  }

  @Test
  void connectionThatNobodyReadsHoldsUpNoOther() throws Exception {
    assertEquals("ok", guest.ask("listen 2005 source:8000000"));
    try (BlockingConnection unread = guest.connect(2005)) {
      byte[] one = new byte[1];
      assertEquals(1, unread.read(ByteBuffer.wrap(one)));
      assertEquals("2", guest.ask("cpus"));
      assertEquals(7_999_999, unread.readAll().length);
    }
  }

  /** By an answer (virtio-vsock: ECONNRESET; hv_sock: ECONNREFUSED), and not by none, ETIMEDOUT. */
  private static void assertRefused(String answer) {
    assertTrue(Set.of("errno 104", "errno 111").contains(answer), answer);
  }

  @Test
  void portOfTheHostWithoutAListenerRefuses() throws Exception {
    assertRefused(guest.ask("connect 3999 echo"));
  }

  @Test
  void portOfTheGuestWithoutAListenerRefuses() {
    ExecutionException e =
        assertThrows(ExecutionException.class, () -> guest.machine().connect(2999).get());
    assertInstanceOf(ConnectException.class, e.getCause());
  }

  @Test
  void closedListenerAcceptsNoMoreAndLeavesItsPortFree() throws Exception {
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    VirtualMachine.Listener listener = guest.machine().listen(3001, accepted::add);
    assertThrows(IllegalStateException.class, () -> guest.machine().listen(3001, accepted::add));
    assertEquals("ok", guest.ask("connect 3001 echo"));
    BlockingConnection early = new BlockingConnection(accepted.take());
    listener.close();
    listener.close();
    assertRefused(guest.ask("connect 3001 echo"));
    early.write("still here\n".getBytes(StandardCharsets.UTF_8));
    assertEquals("still here", early.readLine());
    early.close();
    guest.machine().listen(3001, accepted::add).close();
  }

  @Test
  void consoleIsKeptAndStreamedFromThereOn() throws Exception {
    assertEquals("ok", guest.ask("print words \u001b[31mfrom the guest"));
    // Where the hypervisor hands it on, the host has it a little later than the guest has sent it.
    String tail = guest.machine().console().tail();
    while (!tail.contains("from the guest")) {
      Thread.onSpinWait();
      tail = guest.machine().console().tail();
    }
    assertFalse(tail.contains("\u001b"), "control characters are removed");
    StringBuffer streamed = new StringBuffer();
    CountDownLatch seen = new CountDownLatch(1);
    try (VirtualMachine.Listener listener =
        guest.machine().console().stream(
            bytes -> {
              streamed.append(new String(bytes, StandardCharsets.UTF_8));
              if (streamed.indexOf("more of them") >= 0) {
                seen.countDown();
              }
            })) {
      int kept = streamed.indexOf("\u001b[31mfrom the guest");
      assertTrue(kept >= 0, streamed::toString);
      assertEquals("ok", guest.ask("print more of them"));
      seen.await();
      assertEquals(kept, streamed.lastIndexOf("from the guest") - "\u001b[31m".length());
      assertEquals(streamed.indexOf("more of them"), streamed.lastIndexOf("more of them"));
    }
  }

  @Test
  void statisticsCountExitsSinceTheFirstRun() throws Exception {
    VmStatistics before = guest.machine().statistics();
    long first = before.firstRunNanoTime().orElseThrow();
    assertTrue(first - System.nanoTime() < 0);
    assertTrue(first - bootedAfter > 0);
    assertEquals("ok", guest.ask("print a line, whose characters the guest hands over singly"));
    VmStatistics after = guest.machine().statistics();
    assertEquals(before.firstRunNanoTime(), after.firstRunNanoTime());
    if (can(Ability.COUNTS_EXITS)) {
      assertTrue(sum(after) > sum(before), () -> before + " then " + after);
    } else {
      assertEquals(Map.of(), after.exits());
    }
  }

  private static long sum(VmStatistics statistics) {
    return statistics.exits().values().stream().mapToLong(Long::longValue).sum();
  }

  @Test
  void secondStartIsRefused() {
    assertThrows(IllegalStateException.class, () -> guest.machine().start());
  }

  @Test
  void powerOffEndsTheMachineAndItsConnections() throws Exception {
    try (ContractGuest own = ContractGuest.boot(create("power-off", ""))) {
      assertEquals("ok", own.ask("listen 2000 hold"));
      BlockingConnection open = own.connect(2000);
      own.tell("poweroff");
      assertEquals(Reason.POWER_OFF, own.machine().exit().get().reason());
      assertThrows(GuestLostException.class, () -> open.read(ByteBuffer.allocate(1)));
      assertInstanceOf(
          GuestLostException.class,
          assertThrows(ExecutionException.class, () -> own.machine().connect(2000).get())
              .getCause());
      assertThrows(IllegalStateException.class, () -> own.machine().listen(2000, connection -> {}));
    }
  }

  @Test
  void rebootEndsTheMachine() throws Exception {
    try (ContractGuest own = ContractGuest.boot(create("reboot", ""))) {
      own.tell("reboot");
      Reason told = can(Ability.TELLS_RESETS) ? Reason.RESET : Reason.POWER_OFF;
      assertEquals(told, own.machine().exit().get().reason());
    }
  }

  @Test
  void panicEndsTheMachineAndItsConsoleSaysWhyAlsoAfterItIsClosed() throws Exception {
    ContractGuest own = ContractGuest.boot(create("panic", ""));
    own.tell("panic");
    VmExit exit = own.machine().exit().get();
    assertEquals(Reason.RESET, exit.reason());
    assertFalse(exit.detail().isEmpty());
    own.close();
    assertTrue(
        own.machine()
            .console()
            .tail()
            .contains("Kernel panic - not syncing: Attempted to kill init"),
        () -> own.machine().console().tail());
    assertEquals(can(Ability.COUNTS_EXITS), !own.machine().statistics().exits().isEmpty());
    assertEquals(exit, own.machine().exit().get());
  }

  @Test
  void machineThatWasNeverStartedCanBeClosed() throws Exception {
    VirtualMachine machine = create("never-started", "");
    CompletableFuture<GuestConnection> pending = machine.connect(2000);
    machine.close();
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
    assertInstanceOf(
        IOException.class, assertThrows(ExecutionException.class, pending::get).getCause());
    assertThrows(IllegalStateException.class, machine::start);
    assertEquals("", machine.console().tail());
  }

  @Test
  void machineIsClosedWhileItsKernelBootsFromManyThreads() throws Exception {
    VirtualMachine machine = create("closed-in-boot", "");
    machine.start();
    List<CompletableFuture<Reason>> ends = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      CompletableFuture<Reason> end = new CompletableFuture<>();
      ends.add(end);
      new Thread(
              () -> {
                machine.close();
                end.complete(machine.exit().join().reason());
              })
          .start();
    }
    for (CompletableFuture<Reason> end : ends) {
      assertEquals(Reason.CLOSED, end.get());
    }
  }

  @Test
  void guestThatSaysNothingIsEndedByClosing() throws Exception {
    try (VirtualMachine machine = create("silent", "contract.silent")) {
      CountDownLatch silent = new CountDownLatch(1);
      StringBuffer console = new StringBuffer();
      machine.console().stream(
          bytes -> {
            console.append(new String(bytes, StandardCharsets.US_ASCII));
            if (console.indexOf("contract guest: silent") >= 0) {
              silent.countDown();
            }
          });
      machine.start();
      silent.await();
      assertFalse(machine.exit().isDone());
      machine.close();
      assertEquals(Reason.CLOSED, machine.exit().get().reason());
    }
  }

  @Test
  void specificationThatCannotBeMetIsRefusedAndLeavesNothing() throws Exception {
    Path noKernel = Files.writeString(directory.resolve("no-kernel"), "not a kernel\n");
    Path disk = Files.write(directory.resolve("good"), new byte[DISK_BYTES]);
    VmSpec.Disk good = VmSpec.Disk.of("good", disk, false);
    VmSpec bad =
        VmSpec.builder("bad", VmSpec.Linux.builder(noKernel).build(), DataSize.mebibytes(MEBIBYTES))
            .disks(List.of(good))
            .build();
    VmSpec noDisk =
        spec("no-disk", "", 1, good, VmSpec.Disk.of("gone", directory.resolve("not-there"), true));
    Baseline before = Baseline.now(directory, TestKernels.CACHE);
    long addressesBefore = addressSpaceBytes();
    for (int i = 0; i < REFUSALS; i++) {
      assertRefusedFor("no-kernel", bad);
      assertRefusedFor("not-there", noDisk);
    }
    before.assertThreadsEnded();
    before.assertFilesAsBefore();
    // Guests' memory has no name. Threads that have ended may have grown this process's own.
    long grown = addressSpaceBytes() - addressesBefore;
    assertTrue(grown < (long) REFUSALS * MEBIBYTES << 20, () -> grown + " bytes");
  }

  @Test
  void reservedHugePagesAreHadOrRefusedWithWhatHelps() throws Exception {
    VmSpec usual = spec("huge", "", 1);
    VmSpec.Linux linux =
        ((VmSpec.Linux) usual.guest()).toBuilder().memoryPolicy(MemoryPolicy.HUGE_PAGES).build();
    VmSpec spec = VmSpec.builder("huge", linux, usual.memory()).build();
    try (VirtualMachine machine = hypervisor.create(spec)) {
      assertEquals(spec.memory(), machine.statistics().memory().orElseThrow());
      assertThrows(
          UnsupportedOperationException.class, () -> machine.setMemory(DataSize.mebibytes(64)));
    } catch (HypervisorException e) {
      assertTrue(e.getMessage().contains("huge pages"), e::getMessage);
      assertTrue(e.remedy().orElseThrow().contains("MemoryPolicy"), e::getMessage);
    }
  }

  private void assertRefusedFor(String reason, VmSpec spec) {
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> hypervisor.create(spec).close());
    assertTrue(e.getMessage().contains(reason), e::getMessage);
  }

  /** What this process has addresses for (proc_pid_status(5)); 0 where that is not to be had. */
  private static long addressSpaceBytes() throws IOException {
    if (!Files.exists(Path.of("/proc/self/status"))) {
      return 0;
    }
    String size =
        Files.readAllLines(Path.of("/proc/self/status")).stream()
            .filter(line -> line.startsWith("VmSize:"))
            .findFirst()
            .orElseThrow();
    return Long.parseLong(size.replaceAll("\\D", "")) << 10;
  }

  @Test
  void closedHypervisorHasClosedItsMachinesAndLeftNothing() throws Exception {
    Baseline before = Baseline.now(directory, TestKernels.CACHE);
    Hypervisor own = provider().open();
    VirtualMachine idle = own.create(spec("idle-machine", "", 1));
    VirtualMachine running = own.create(spec("running-machine", "", 1));
    running.start();
    own.close();
    own.close();
    assertEquals(Reason.CLOSED, idle.exit().get().reason());
    assertEquals(Reason.CLOSED, running.exit().get().reason());
    before.assertThreadsEnded();
    before.assertFilesAsBefore();
  }
}
