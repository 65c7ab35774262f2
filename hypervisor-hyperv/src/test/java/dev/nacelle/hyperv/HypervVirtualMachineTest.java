// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.hyperv.schema.Version;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.HcsEvent;
import dev.nacelle.hyperv.sys.HcsLimits;
import dev.nacelle.hyperv.sys.NamedPipe;
import dev.nacelle.hyperv.sys.StandIn;
import dev.nacelle.spi.BlockingConnection;
import dev.nacelle.spi.GuestConnection;
import dev.nacelle.spi.GuestDisk;
import dev.nacelle.spi.GuestLostException;
import dev.nacelle.spi.MachineThread;
import dev.nacelle.spi.VirtualMachine;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Machines over the stand-in for Windows: see src/test/c. */
@Timeout(120)
class HypervVirtualMachineTest {
  private static final String CONTROLLER = MachineDocument.SCSI_CONTROLLERS.get(0);

  private static final HcsLimits LIMITS =
      new HcsLimits(Duration.ofSeconds(30), Duration.ofSeconds(30), Duration.ofSeconds(20));

  @TempDir Path temp;

  private Path kernel;
  private VmSpec.Disk disk;
  private Set<String> files;
  private HypervHypervisor hypervisor;

  @BeforeEach
  void open() throws Exception {
    StandIn.reset();
    kernel = Files.write(temp.resolve("vmlinux"), new byte[] {0x7f, 'E', 'L', 'F', 2, 1});
    disk = VmSpec.Disk.of("rootfs", Files.write(temp.resolve("a.ext4"), new byte[4096]), true);
    files = files();
    hypervisor = new HypervHypervisor(host(), LIMITS);
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    hypervisor.close();
    StandIn.requireNothingLeft();
    assertEquals(files, files());
    assertEquals(
        StandIn.calls("HcsGrantVmAccess"), StandIn.calls("HcsRevokeVmAccess"), "access granted");
    // One that closed a machine for a thread of the machine's is nobody's to wait for.
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().endsWith("-close")) {
        thread.join(10_000);
      }
    }
    assertEquals(List.of(), machineThreads());
  }

  private static MachineDocument.Host host() {
    String owner = Owner.ofThisProcess().toString();
    return new MachineDocument.Host(new Version(2, 6), owner, HypervHostCheckTest.USER, 2);
  }

  private Set<String> files() throws IOException {
    try (Stream<Path> all = Files.list(temp)) {
      return all.map(Path::toString).collect(Collectors.toSet());
    }
  }

  private static List<String> machineThreads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(MachineThread.class::isInstance)
        .map(Thread::getName)
        .sorted()
        .toList();
  }

  private VmSpec.Builder spec() {
    return VmSpec.builder("m", VmSpec.Linux.builder(kernel).build(), DataSize.mebibytes(64))
        .disks(List.of(disk));
  }

  private static String id() {
    return StandIn.received("id");
  }

  private static String pipe(String id) {
    return NamedPipe.PREFIX + "nacelle-" + id;
  }

  private VirtualMachine started() {
    VirtualMachine machine = hypervisor.create(spec().build());
    machine.start();
    return machine;
  }

  private static void exited(String id, String exitType) {
    StandIn.event(
        id,
        HcsEvent.Type.SYSTEM_EXITED,
        "{\"Status\":-1070137082,\"ExitType\":\"" + exitType + "\"}");
  }

  private static Reason reason(VirtualMachine machine) throws Exception {
    return machine.exit().get().reason();
  }

  @Test
  void machineLivesAndIsClosed() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    String id = id();
    assertTrue(
        StandIn.received("HcsCreateComputeSystem").contains("nacelle-" + id),
        "its console's pipe is in the document");
    assertTrue(machine.statistics().firstRunNanoTime().isEmpty());
    assertEquals(List.of("nacelle-m-console", "nacelle-m-io"), machineThreads());
    machine.start();
    assertThrows(IllegalStateException.class, machine::start);
    assertTrue(machine.statistics().firstRunNanoTime().isPresent());
    StandIn.writeToPipe(pipe(id), "Linux version\r\n\u001b[1mwords".getBytes(US_ASCII));
    StandIn.endPipe(pipe(id));
    assertFalse(machine.exit().isDone());
    machine.close();
    machine.close();
    assertEquals(Reason.CLOSED, reason(machine));
    assertEquals("Linux version\n[1mwords", machine.console().tail());
    assertThrows(IllegalStateException.class, machine::start);
    assertEquals(1, StandIn.calls("HcsTerminateComputeSystem"));
  }

  @Test
  void guestFindsDisksWhereTheDocumentHasThem() {
    List<VmSpec.Disk> disks = new ArrayList<>();
    for (int i = 0; i < 66; i++) {
      disks.add(VmSpec.Disk.of("d" + i, disk.image(), true));
    }
    List<GuestDisk> found = hypervisor.guestDisks(spec().disks(disks).build());
    assertEquals(66, found.size());
    assertEquals(
        new GuestDisk.Scsi(UUID.fromString(MachineDocument.SCSI_CONTROLLERS.get(1)), 1),
        found.get(65));
  }

  @Test
  void consoleIsStreamed() throws Exception {
    VirtualMachine machine = started();
    StringBuffer all = new StringBuffer();
    CountDownLatch seen = new CountDownLatch(1);
    machine.console().stream(
        bytes -> {
          all.append(new String(bytes, US_ASCII));
          if (all.toString().endsWith("last")) {
            seen.countDown();
          }
        });
    String much = "line\n".repeat(4000);
    StandIn.writeToPipe(pipe(id()), much.getBytes(US_ASCII));
    StandIn.writeToPipe(pipe(id()), "last".getBytes(US_ASCII));
    seen.await();
    assertEquals(much + "last", all.toString());
  }

  @ParameterizedTest
  @CsvSource({
    "GracefulExit, POWER_OFF",
    "UnexpectedExit, CRASHED",
    "ForcedExit, HOST_ERROR",
    "Unknown, HOST_ERROR",
    "OfTheFuture, HOST_ERROR"
  })
  void endIsToldByTheService(String exitType, Reason reason) throws Exception {
    VirtualMachine machine = started();
    exited(id(), exitType);
    VmExit exit = machine.exit().get();
    assertEquals(reason, exit.reason());
    machine.close();
    assertEquals(exit, machine.exit().get());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "[", "{}"})
  void endWithoutADocumentIsOne(String document) throws Exception {
    VirtualMachine machine = started();
    StandIn.event(id(), HcsEvent.Type.SYSTEM_EXITED, document.isEmpty() ? null : document);
    assertEquals(Reason.HOST_ERROR, reason(machine));
  }

  @ParameterizedTest
  @CsvSource(
      quoteCharacter = '`',
      value = {
        "{\"CrashLog\":\"a\\n[1] Kernel panic - not syncing: \\u001b[1mno\\r\\n---[ end\\n\"}"
            + "; [1] Kernel panic - not syncing: [1mno",
        "{\"CrashLog\":\"a\\nlast\\n\\n\"}; last",
        "{\"CrashLog\":\"\"}; its console says why",
        "{\"CrashLog\":[]}; its console says why",
        "[; its console says why"
      },
      delimiter = ';')
  void panicIsAResetWithTheKernelsLastWords(String report, String words) throws Exception {
    VirtualMachine machine = started();
    StandIn.event(id(), HcsEvent.Type.CRASH_INITIATED, null);
    StandIn.event(id(), HcsEvent.Type.CRASH_REPORT, report);
    StandIn.standin_quiesce(); // whose events come at once
    exited(id(), "UnexpectedExit");
    assertEquals(
        VmExit.of(Reason.RESET, "the guest's kernel crashed: " + words), machine.exit().get());
  }

  @Test
  void lastWordsAreShort() throws Exception {
    VirtualMachine machine = started();
    String log = "{\"CrashLog\":\"Kernel panic " + "x".repeat(100_000) + "\"}";
    StandIn.event(id(), HcsEvent.Type.CRASH_REPORT, log);
    StandIn.standin_quiesce();
    exited(id(), "UnexpectedExit");
    assertTrue(machine.exit().get().detail().length() < 300);
  }

  @ParameterizedTest
  @ValueSource(strings = {"HcsCreateComputeSystem", "HcsGetComputeSystemProperties"})
  void serviceThatStopsWhileAMachineIsMadeIsTold(String function) {
    StandIn.failResult(function, HResult.HCS_E_SERVICE_DISCONNECT, null);
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> hypervisor.create(spec().build()));
    assertTrue(e.getMessage().contains("HCS_E_SERVICE_DISCONNECT"), e::getMessage);
    assertTrue(e.remedy().orElseThrow().contains("vmcompute"), e::getMessage);
  }

  @Test
  void serviceThatStopsWhileAMachineStartsIsItsEnd() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    StandIn.hold("HcsStartComputeSystem");
    CompletableFuture<Void> starting = CompletableFuture.runAsync(machine::start);
    StandIn.awaitCall("HcsStartComputeSystem");
    StandIn.event(id(), HcsEvent.Type.SERVICE_DISCONNECT, null);
    assertEquals(Reason.HOST_ERROR, reason(machine));
    StandIn.standin_release();
    starting.get();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HcsCreateComputeSystem",
        "HcsGetComputeSystemProperties",
        "HcsStartComputeSystem"
      })
  void callThatTakesTooLongIsToldWithWhatToDo(String function) {
    HcsLimits impatient =
        new HcsLimits(Duration.ofSeconds(4), Duration.ofSeconds(30), Duration.ofSeconds(20));
    try (HypervHypervisor own = new HypervHypervisor(host(), impatient)) {
      StandIn.hold(function);
      CompletableFuture<Void> release =
          CompletableFuture.runAsync(
              () -> {
                StandIn.awaitCall("HcsTerminateComputeSystem");
                StandIn.standin_release();
              });
      HypervisorException e =
          assertThrows(
              HypervisorException.class,
              () -> {
                try (VirtualMachine machine = own.create(spec().build())) {
                  machine.start();
                }
              });
      assertTrue(e.getMessage().contains("HCS_E_OPERATION_TIMEOUT"), e::getMessage);
      assertTrue(e.remedy().orElseThrow().contains("processor time"), e::getMessage);
      release.join();
    }
  }

  /** By the name that the machine's document has for it: the service knows no other. */
  @ParameterizedTest
  @CsvSource({
    "/Chipset/LinuxKernelDirect/KernelFilePath, vmlinux",
    "/Chipset/LinuxKernelDirect/InitRdPath, initramfs",
    "/Devices/Scsi/{controller}/Attachments/0/Path, a.ext4",
    "/Devices/Scsi/{controller}/Attachments/1/Path, b.vhdx"
  })
  void fileThatTheServiceMayNotReadIsNamed(String place, String file) throws Exception {
    VmSpec.Linux linux =
        VmSpec.Linux.builder(kernel)
            .initramfs(Files.write(temp.resolve("initramfs"), new byte[1]))
            .build();
    Path scratch = Files.createFile(temp.resolve("b.vhdx"));
    DynamicVhdx.create(scratch, 1 << 20).close();
    files = files();
    StandIn.failCall("HcsGrantVmAccess", HResult.E_ACCESSDENIED);
    VirtualMachine machine =
        hypervisor.create(
            VmSpec.builder("m", linux, DataSize.mebibytes(64))
                .disks(List.of(disk, VmSpec.Disk.of("scratch", scratch, false)))
                .build());
    assertEquals(2, StandIn.calls("HcsGrantVmAccess"));
    String path =
        new ObjectMapper()
            .readTree(StandIn.received("HcsCreateComputeSystem"))
            .at("/VirtualMachine" + place.replace("{controller}", CONTROLLER))
            .textValue();
    assertTrue(Files.isSameFile(temp.resolve(file), Path.of(path)), path);
    StandIn.failResult(
        "HcsStartComputeSystem",
        HResult.E_ACCESSDENIED,
        "{\"Error\":-2147024891,\"ErrorMessage\":\"Access is denied.\",\"ErrorEvents\":[{\"Message\":"
            + "\"'m' failed to start: "
            + path.replace("\\", "\\\\")
            + "\"}]}");
    HypervisorException e = assertThrows(HypervisorException.class, machine::start);
    assertTrue(e.getMessage().contains(path), e::getMessage);
    assertTrue(e.getMessage().contains("E_ACCESSDENIED"), e::getMessage);
    assertTrue(e.remedy().orElseThrow().contains("SYSTEM"), e::getMessage);
    machine.close();
    // What was not granted is not taken back, either.
    assertEquals(0, StandIn.calls("HcsRevokeVmAccess"));
    StandIn.requireNothingLeft();
    StandIn.reset();
  }

  @Test
  void serviceThatEndsEndsItsMachines() throws Exception {
    VirtualMachine machine = started();
    StandIn.event(id(), HcsEvent.Type.SERVICE_DISCONNECT, null);
    assertEquals(Reason.HOST_ERROR, reason(machine));
  }

  @Test
  void guestConnectsAndItsEndIsTold() throws Exception {
    BlockingQueue<GuestConnection> accepted = new LinkedBlockingQueue<>();
    VirtualMachine machine = hypervisor.create(spec().build());
    machine.listen(1024, accepted::add);
    CompletableFuture<GuestConnection> connecting = machine.connect(1025);
    try (GuestSockets guest = new GuestSockets("guest", UUID.fromString(id()))) {
      guest.started();
      guest.listen(1025, connection -> {});
      assertFalse(connecting.isDone());
      machine.start();
      connecting.get().close();
      BlockingConnection its = new BlockingConnection(guest.connect(1024).get());
      BlockingConnection host = new BlockingConnection(accepted.take());
      its.write("hello\n".getBytes(US_ASCII));
      assertEquals("hello", host.readLine());
      exited(id(), "GracefulExit");
      assertEquals(Reason.POWER_OFF, reason(machine));
      IOException e =
          assertThrows(
              GuestLostException.class, () -> host.connection().read(ByteBuffer.allocate(1)));
      assertTrue(e.getMessage().contains("POWER_OFF"), e::getMessage);
      assertThrows(ExecutionException.class, () -> machine.connect(1025).get());
      assertThrows(IllegalStateException.class, () -> machine.listen(1024, accepted::add));
    }
  }

  @Test
  void machineThatWasNeverStartedIsClosed() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    CompletableFuture<GuestConnection> pending = machine.connect(2000);
    machine.close();
    assertEquals(Reason.CLOSED, reason(machine));
    assertInstanceOf(
        IOException.class, assertThrows(ExecutionException.class, pending::get).getCause());
    assertEquals("", machine.console().tail());
  }

  @Test
  void machineIsClosedByManyThreadsAndByItsOwn() throws Exception {
    VirtualMachine machine = started();
    List<CompletableFuture<Void>> closers = new ArrayList<>();
    CompletableFuture<Void> own = machine.exit().thenRun(machine::close);
    for (int i = 0; i < 8; i++) {
      closers.add(CompletableFuture.runAsync(machine::close));
    }
    for (CompletableFuture<Void> closer : closers) {
      closer.get();
    }
    own.get();
    assertEquals(Reason.CLOSED, reason(machine));
  }

  @Test
  void machineIsClosedWhileItStarts() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    StandIn.hold("HcsStartComputeSystem");
    CompletableFuture<Void> starting = CompletableFuture.runAsync(machine::start);
    StandIn.awaitCall("HcsStartComputeSystem");
    CompletableFuture<Void> closing = CompletableFuture.runAsync(machine::close);
    StandIn.awaitCall("HcsTerminateComputeSystem");
    StandIn.standin_release();
    closing.get();
    // Either it had ended before it could start, or it was told so.
    assertNotNull(starting.handle((done, failure) -> "ended").get());
    assertEquals(Reason.CLOSED, reason(machine));
  }

  @Test
  void endBeforeStartReturnsIsTheEnd() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    StandIn.hold("HcsStartComputeSystem");
    CompletableFuture<Void> starting = CompletableFuture.runAsync(machine::start);
    StandIn.awaitCall("HcsStartComputeSystem");
    exited(id(), "UnexpectedExit");
    assertEquals(Reason.CRASHED, reason(machine));
    StandIn.standin_release();
    starting.get();
  }

  @Test
  void startThatFailsTellsWhyAndLeavesAMachineToClose() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    StandIn.failResult(
        "HcsStartComputeSystem", HResult.E_ACCESSDENIED, "{\"ErrorMessage\":\"C:\\\\a.vhd\"}");
    HypervisorException e = assertThrows(HypervisorException.class, machine::start);
    assertTrue(e.getMessage().startsWith("cannot start the virtual machine m: "), e::getMessage);
    assertTrue(e.getMessage().contains(": C:\\a.vhd"), e::getMessage);
    assertTrue(e.remedy().isPresent());
    machine.close();
    assertEquals(Reason.CLOSED, reason(machine));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HcsCreateOperation",
        "HcsCreateComputeSystem",
        "HcsSetComputeSystemCallback",
        "HcsGetComputeSystemProperties"
      })
  void callThatFailsRefusesTheMachineAndLeavesNothing(String function) {
    StandIn.failCall(function, HResult.E_OUTOFMEMORY);
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> hypervisor.create(spec().build()));
    assertTrue(e.getMessage().startsWith("cannot create the virtual machine m: "), e::getMessage);
  }

  @ParameterizedTest
  @ValueSource(strings = {"HcsCreateComputeSystem", "HcsGetComputeSystemProperties"})
  void resultThatFailsRefusesTheMachineAndLeavesNothing(String function) {
    StandIn.failResult(function, HResult.HCS_E_SYSTEM_ALREADY_EXISTS, null);
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> hypervisor.create(spec().build()));
    assertTrue(e.getMessage().contains("HCS_E_SYSTEM_ALREADY_EXISTS"), e::getMessage);
    assertTrue(e.remedy().isPresent());
  }

  @Test
  void propertiesThatAreNoneRefuseTheMachine() {
    for (String answer : new String[] {"{}", "[", "{\"RuntimeId\":\"x\"}"}) {
      StandIn.answer("HcsGetComputeSystemProperties", answer);
      assertThrows(HypervisorException.class, () -> hypervisor.create(spec().build()));
    }
  }

  private void assertRefused(String reason, VmSpec spec) {
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> hypervisor.create(spec).close());
    assertTrue(e.getMessage().contains(reason), e::getMessage);
    assertTrue(e.remedy().isPresent(), e::getMessage);
    assertEquals(0, StandIn.calls("HcsCreateComputeSystem"));
  }

  private static VmSpec of(VmSpec.Guest guest) {
    return VmSpec.builder("m", guest, DataSize.mebibytes(64)).build();
  }

  @Test
  void whatCannotBeIsRefusedByItsReason() throws Exception {
    Path noKernel = Files.writeString(temp.resolve("no-kernel"), "not a kernel\n");
    files = files();
    VmSpec.Linux good = VmSpec.Linux.builder(kernel).build();
    assertRefused("no-kernel is neither", of(VmSpec.Linux.builder(noKernel).build()));
    assertRefused("gone is not there", of(VmSpec.Linux.builder(temp.resolve("gone")).build()));
    assertRefused(
        "gone is not there",
        of(VmSpec.Linux.builder(kernel).initramfs(temp.resolve("gone")).build()));
    assertRefused("Linux kernels only", of(VmSpec.Bare.of(kernel, "")));
    assertRefused(
        "not-there is not there",
        spec().disks(List.of(disk, VmSpec.Disk.of("d", temp.resolve("not-there"), true))).build());
    Path directory = Files.createDirectory(temp.resolve("directory"));
    assertRefused(
        directory.toString(),
        spec().disks(List.of(disk, VmSpec.Disk.of("d", directory, true))).build());
    Files.delete(directory);
    assertRefused("3 vCPUs are more than the 2 processors", spec().cpus(3).build());
    assertRefused("steps of 2 MiB", VmSpec.builder("m", good, DataSize.mebibytes(3)).build());
    Path deep = temp.resolve("d".repeat(200)).resolve("e".repeat(60));
    Files.createDirectories(deep);
    Path far = Files.copy(kernel, deep.resolve("vmlinux"));
    assertRefused("characters, more than Windows takes", of(VmSpec.Linux.builder(far).build()));
    Files.delete(far);
    Files.delete(deep);
    Files.delete(deep.getParent());
  }

  @Test
  void bzImageIsAKernel() throws Exception {
    byte[] bytes = new byte[1024];
    System.arraycopy("HdrS".getBytes(US_ASCII), 0, bytes, 0x202, 4);
    Path image = Files.write(temp.resolve("bzImage"), bytes);
    files = files();
    hypervisor.create(of(VmSpec.Linux.builder(image).build())).close();
  }

  @Test
  void machineStandsStillAndGoesOn() throws Exception {
    VirtualMachine machine = started();
    assertEquals(Set.of(VirtualMachine.Ability.PAUSE), machine.abilities());
    machine.resume();
    for (int i = 1; i <= 2; i++) {
      machine.pause();
      machine.pause();
      assertEquals(i, StandIn.calls("HcsPauseComputeSystem"));
      machine.resume();
      machine.resume();
      assertEquals(i, StandIn.calls("HcsResumeComputeSystem"));
    }
    machine.pause();
    exited(id(), "GracefulExit");
    assertEquals(Reason.POWER_OFF, reason(machine));
    machine.resume();
    machine.pause();
    assertEquals(2, StandIn.calls("HcsResumeComputeSystem"));
    machine.close();
    machine.pause();
  }

  @Test
  void machineThatWasNotStartedIsNotPausedNorAnyByItsOwnThreads() throws Exception {
    VirtualMachine machine = hypervisor.create(spec().build());
    assertThrows(IllegalStateException.class, machine::pause);
    machine.resume();
    machine.start();
    CompletableFuture<Void> own = new CompletableFuture<>();
    MachineThread thread =
        new MachineThread(
            () -> {
              assertThrows(IllegalStateException.class, machine::pause);
              assertThrows(IllegalStateException.class, machine::resume);
              own.complete(null);
            },
            "own");
    thread.start();
    own.get();
    thread.join();
    assertEquals(0, StandIn.calls("HcsPauseComputeSystem"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"HcsPauseComputeSystem", "HcsResumeComputeSystem"})
  void machineThatCannotBePausedOrResumedEnds(String function) throws Exception {
    VirtualMachine machine = started();
    StandIn.failResult(function, HResult.HCS_E_INVALID_STATE, null);
    HypervisorException e =
        assertThrows(
            HypervisorException.class,
            () -> {
              machine.pause();
              machine.resume();
            });
    assertTrue(e.getMessage().contains("HCS_E_INVALID_STATE"), e::getMessage);
    VmExit exit = machine.exit().get();
    assertEquals(Reason.HOST_ERROR, exit.reason());
    assertTrue(e.getMessage().startsWith(exit.detail()), exit::detail);
    assertEquals(1, StandIn.calls("HcsTerminateComputeSystem"));
    machine.pause();
  }

  @Test
  void endOfAMachineThatDoesNotStandStillInTimeIsToldWhenItHasEnded() throws Exception {
    HcsLimits impatient =
        new HcsLimits(Duration.ofSeconds(30), Duration.ofSeconds(4), Duration.ofSeconds(20));
    try (HypervHypervisor own = new HypervHypervisor(host(), impatient)) {
      VirtualMachine machine = own.create(spec().build());
      machine.start();
      StandIn.hold("HcsPauseComputeSystem");
      StandIn.hold("HcsTerminateComputeSystem");
      CompletableFuture<Void> pausing = CompletableFuture.runAsync(machine::pause);
      StandIn.awaitCall("HcsTerminateComputeSystem");
      assertFalse(machine.exit().isDone());
      assertFalse(pausing.isDone());
      StandIn.standin_release();
      Throwable e = assertThrows(ExecutionException.class, pausing::get).getCause();
      assertTrue(e.getMessage().contains("HCS_E_OPERATION_TIMEOUT"), e::getMessage);
      VmExit exit = machine.exit().get();
      assertEquals(Reason.HOST_ERROR, exit.reason());
      assertTrue(e.getMessage().startsWith(exit.detail()), exit::detail);
    }
  }

  @Test
  void pausedMachineIsClosedAndSoIsOneThatIsBeingPaused() throws Exception {
    VirtualMachine first = started();
    first.pause();
    first.close();
    assertEquals(Reason.CLOSED, reason(first));

    VirtualMachine second = started();
    StandIn.hold("HcsPauseComputeSystem");
    CompletableFuture<Void> pausing = CompletableFuture.runAsync(second::pause);
    StandIn.awaitCalls("HcsPauseComputeSystem", 2);
    CompletableFuture<Void> closing = CompletableFuture.runAsync(second::close);
    StandIn.awaitCalls("HcsTerminateComputeSystem", 2);
    StandIn.standin_release();
    closing.get();
    pausing.get();
    assertEquals(Reason.CLOSED, reason(second));
  }

  @Test
  void guestThatStandsStillIsAskedWhenItGoesOn() throws Exception {
    VirtualMachine machine = started();
    try (GuestSockets guest = new GuestSockets("guest", UUID.fromString(id()))) {
      guest.started();
      CompletableFuture<GuestConnection> before = machine.connect(1025); // and is refused so far
      machine.pause();
      guest.listen(1025, connection -> {});
      CompletableFuture<GuestConnection> meanwhile = machine.connect(1025);
      Thread.sleep(500);
      assertFalse(meanwhile.isDone());
      machine.resume();
      before.get().close();
      meanwhile.get().close();
    }
    machine.close();
  }

  @Test
  void closedHypervisorHasClosedItsMachines() throws Exception {
    List<VirtualMachine> machines = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      machines.add(i % 2 == 0 ? started() : hypervisor.create(spec().build()));
    }
    hypervisor.close();
    hypervisor.close();
    for (VirtualMachine machine : machines) {
      assertEquals(Reason.CLOSED, reason(machine));
    }
    assertThrows(IllegalStateException.class, () -> hypervisor.create(spec().build()));
  }

  @Test
  void machinesOfProcessesThatAreNoMoreAreEnded() throws Exception {
    Process dead = new ProcessBuilder("true").start();
    dead.waitFor();
    HypervHypervisor own = new HypervHypervisor(host(), LIMITS);
    VirtualMachine left = own.create(spec().build());
    final String leftId = id();
    VirtualMachine other = own.create(spec().build());
    StandIn.answer(
        "HcsEnumerateComputeSystems",
        "[{\"Id\":\""
            + leftId
            + "\",\"Owner\":\"nacelle-"
            + dead.pid()
            + "-1\"},{\"Id\":\""
            + id()
            + "\",\"Owner\":\""
            + Owner.ofThisProcess()
            + "\"},{\"Id\":\"w\",\"Owner\":\"WSL\"},{\"Id\":\"gone\",\"Owner\":\"nacelle-"
            + dead.pid()
            + "-1\"},{}]");
    new HypervHypervisor(host(), LIMITS).close();
    left.exit().get();
    assertFalse(other.exit().isDone());
    assertEquals(1, StandIn.calls("HcsTerminateComputeSystem"));
    own.close();
  }

  @Test
  void leftoversThatAreNotToldAreNoFailure() {
    StandIn.failCall("HcsEnumerateComputeSystems", HResult.HCS_E_ACCESS_DENIED);
    new HypervHypervisor(host(), LIMITS).close();
    StandIn.reset();
    StandIn.answer("HcsEnumerateComputeSystems", "[");
    new HypervHypervisor(host(), LIMITS).close();
  }
}
