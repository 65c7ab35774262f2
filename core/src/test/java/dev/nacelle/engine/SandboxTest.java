// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.BootTimeline;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.ExitStatus;
import dev.nacelle.GuestProcess;
import dev.nacelle.GuestProcessInfo;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.NacelleException;
import dev.nacelle.Output;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.RateLimit;
import dev.nacelle.RateLimits;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxInfo;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.SignalScope;
import dev.nacelle.Stage;
import dev.nacelle.TerminalSize;
import dev.nacelle.VmExit;
import dev.nacelle.WritableLayer;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.fake.FakeMachine;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.VmSpec;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(NettyLeaks.class)
@Timeout(120)
class SandboxTest extends SharedSandboxTest {
  private String run(ProcessSpec spec) {
    ExecResult result = sandbox.exec(spec);
    assertEquals(0, result.exitCode(), result.stderr()::text);
    return result.stdout().text();
  }

  @Test
  void execReturnsWhatTheCommandPrinted() {
    assertEquals("6 times 7\n", sandbox.exec("echo", "6", "times", "7").stdout().text());
  }

  @Test
  void execKeepsOutputsApartAndTellsTheExitCode() {
    ExecResult result = sandbox.exec("both");
    assertEquals("out", result.stdout().text());
    assertEquals("err", result.stderr().text());
    assertEquals(7, result.exitCode());
    assertFalse(result.succeeded());
    assertTrue(result.duration().compareTo(Duration.ZERO) > 0);
  }

  @Test
  void commandThatIsNotThereIsExitCode127WithAMessage() {
    ExecResult result = sandbox.exec("nosuch");
    assertEquals(127, result.exitCode());
    assertEquals("nosuch: not found\n", result.stderr().text());
  }

  @Test
  void startOfACommandThatIsNotThereThrows() {
    ProcessException e =
        assertThrows(ProcessException.class, () -> sandbox.start(ProcessSpec.of("nosuch")));
    assertEquals(ProcessException.Reason.COMMAND_NOT_FOUND, e.reason());
  }

  @Test
  void unknownUserThrows() {
    ProcessSpec spec = ProcessSpec.builder("true").user("nobody-knows").build();
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec(spec));
    assertEquals(ProcessException.Reason.UNKNOWN_USER, e.reason());
    assertTrue(e.getMessage().contains("no such user"), e::getMessage);
  }

  @Test
  void stdinOfManyMegabytesComesBack() {
    byte[] content = new byte[20 << 20];
    new Random(1).nextBytes(content);
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("cat").stdin(content).outputLimit(DataSize.mebibytes(32)).build());
    assertEquals(Output.of(ByteBuffer.wrap(content), false), result.stdout());
  }

  @Test
  void theMostThatAProcessCanBeGivenIsNoMoreThanTheAgentTakes() {
    ProcessSpec.Builder many = ProcessSpec.builder("echo", "taken");
    for (int i = 10_000; i < 69_000; i++) {
      // With the nine bytes that each counts for besides: 35.
      many.environment("V" + i, "x".repeat(19));
    }
    assertEquals("taken\n", run(many.build()));
    ProcessSpec.Builder large = ProcessSpec.builder("echo", "taken");
    for (int i = 0; i < 15; i++) {
      large.environment("V" + i, "x".repeat((128 << 10) - 10));
    }
    large.environment("V", "x".repeat(130_000));
    assertEquals("taken\n", run(large.build()));
    large.environment("W", "x".repeat(2000));
    assertThrows(RuntimeException.class, () -> run(large.build()));
  }

  @Test
  void emptyStdinEndsAtOnce() {
    assertEquals("", run(ProcessSpec.builder("cat").stdin("").build()));
  }

  @Test
  void execWithoutStdinReadsNothing() {
    assertEquals("", run(ProcessSpec.of("cat")));
  }

  @Test
  void outputBeyondTheLimitIsDroppedAndToldOf() {
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("flood", "4").outputLimit(DataSize.kibibytes(100)).build());
    assertEquals(0, result.exitCode());
    assertEquals(100 * 1024, result.stdout().length());
    assertTrue(result.stdout().truncated());
    assertTrue(result.stderr().truncated());
  }

  @Test
  void outputOfExactlyTheLimitIsWhole() {
    ExecResult result =
        sandbox.exec(ProcessSpec.builder("flood", "1").outputLimit(DataSize.mebibytes(1)).build());
    assertEquals(1 << 20, result.stdout().length());
    assertFalse(result.stdout().truncated());
  }

  @Test
  void execUsesTheImagesEnvironmentDirectoryAndUser() {
    String request = run(ProcessSpec.of("print-request"));
    assertTrue(request.contains("environment: \"PATH=/bin\""), request);
    assertTrue(request.contains("environment: \"LANG=C.UTF-8\""), request);
    assertTrue(request.contains("working_directory: \"/srv\""), request);
    assertTrue(request.contains("user: \"app\""), request);
    assertFalse(request.contains("from-entrypoint"), request);
    assertFalse(request.contains("stdin: true"), request);
  }

  @Test
  void processSaysOtherwiseThanTheImage() {
    String request =
        run(
            ProcessSpec.builder("print-request", "x")
                .environment("LANG", "de_DE")
                .environment("MORE", "a=b")
                .workingDirectory("/tmp")
                .user("0:0")
                .timeout(Duration.ofMinutes(2))
                .build());
    assertTrue(request.contains("environment: \"LANG=de_DE\""), request);
    assertFalse(request.contains("C.UTF-8"), request);
    assertTrue(request.contains("environment: \"MORE=a=b\""), request);
    assertTrue(request.contains("working_directory: \"/tmp\""), request);
    assertTrue(request.contains("user: \"0:0\""), request);
    assertTrue(request.contains("timeout_nanos: 120000000000"), request);
  }

  @Test
  void sandboxSaysOtherwiseThanTheImage() {
    SandboxSpec spec =
        FakeNacelle.spec()
            .environment("LANG", "fr_FR")
            .workingDirectory("/opt")
            .user("worker")
            .build();
    try (Sandbox other = fake.nacelle.start(spec)) {
      String request = other.exec("print-request").stdout().text();
      assertTrue(request.contains("environment: \"LANG=fr_FR\""), request);
      assertTrue(request.contains("working_directory: \"/opt\""), request);
      assertTrue(request.contains("user: \"worker\""), request);
    }
  }

  @Test
  void entrypointRunsWithCmdOrWithOtherArguments() {
    String request = run(ProcessSpec.entrypoint().build());
    assertTrue(request.contains("arguments: \"from-entrypoint\""), request);
    assertTrue(request.contains("arguments: \"from-cmd\""), request);
    request = run(ProcessSpec.entrypoint("mine").build());
    assertTrue(request.contains("arguments: \"from-entrypoint\""), request);
    assertTrue(request.contains("arguments: \"mine\""), request);
    assertFalse(request.contains("from-cmd"), request);
  }

  @Test
  void streamsCarryAConversation() throws Exception {
    try (GuestProcess process = sandbox.start(ProcessSpec.of("cat"))) {
      assertTrue(process.pid() > 0);
      byte[] line = new byte[6];
      for (int i = 0; i < 100; i++) {
        process.stdin().write("hello\n".getBytes());
        assertEquals(6, process.stdout().readNBytes(line, 0, 6));
        assertEquals("hello\n", new String(line));
      }
      assertTrue(process.isAlive());
      process.stdin().close();
      assertEquals(-1, process.stdout().read());
      assertEquals(0, process.waitFor().exitCode());
      assertEquals(0, process.onExit().get().exitCode());
      assertThrows(IOException.class, () -> process.stdin().write(1));
    }
  }

  @Test
  void outputsOfManyMegabytesAreReadByTwoThreads() throws Exception {
    try (GuestProcess process = sandbox.start(ProcessSpec.of("flood", "16"))) {
      CompletableFuture<Integer> err = CompletableFuture.supplyAsync(() -> count(process.stderr()));
      assertEquals(16 << 20, count(process.stdout()));
      assertEquals(16 << 20, err.get());
      assertEquals(0, process.waitFor().exitCode());
    }
  }

  private static int count(InputStream in) {
    try {
      int total = 0;
      byte[] buffer = new byte[10_000];
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        total += n;
      }
      return total;
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void closedOutputHoldsUpNobody() throws Exception {
    try (GuestProcess process = sandbox.start(ProcessSpec.of("flood", "4"))) {
      process.stderr().close();
      assertEquals(4 << 20, count(process.stdout()));
      assertEquals(0, process.waitFor().exitCode());
    }
  }

  @Test
  void stdinThatWasGivenIsReadAndThenEnds() throws Exception {
    try (GuestProcess process =
        sandbox.start(ProcessSpec.builder("cat").stdin("all of it").build())) {
      assertEquals("all of it", new String(process.stdout().readAllBytes()));
      assertEquals(0, process.waitFor().exitCode());
    }
  }

  @Test
  void stdinThatWasGivenCannotBeWrittenToOrEnded() throws Exception {
    byte[] content = new byte[8 << 20];
    new Random(2).nextBytes(content);
    try (GuestProcess process = sandbox.start(ProcessSpec.builder("cat").stdin(content).build())) {
      assertThrows(IOException.class, () -> process.stdin().write(1));
      process.stdin().close();
      assertArrayEquals(content, process.stdout().readAllBytes());
    }
  }

  @Test
  void signalEndsAProcessAndIsToldOf() {
    try (GuestProcess process = sandbox.start(ProcessSpec.of("hang"))) {
      assertEquals(Optional.empty(), process.waitFor(Duration.ofMillis(1)));
      process.signal(Signal.TERM);
      ExitStatus status = process.waitFor();
      assertEquals(Optional.of(Signal.TERM), status.signal());
      assertEquals(143, status.exitCode());
      process.signal(Signal.TERM);
    }
  }

  @Test
  void closingAProcessKillsIt() throws Exception {
    GuestProcess process = sandbox.start(ProcessSpec.of("hang"));
    process.close();
    process.close();
    assertEquals(Optional.of(Signal.KILL), process.onExit().get().signal());
    assertThrows(IOException.class, () -> process.stdout().read());
    assertThrows(IOException.class, () -> process.stdin().write(1));
  }

  @Test
  void terminalIsResized() throws Exception {
    ProcessSpec spec = ProcessSpec.builder("terminal-size").terminal(TerminalSize.DEFAULT).build();
    try (GuestProcess process = sandbox.start(spec)) {
      process.resize(new TerminalSize(43, 121));
      assertEquals("43x121", new String(process.stdout().readAllBytes()));
    }
    try (GuestProcess process = sandbox.start(ProcessSpec.of("hang"))) {
      assertThrows(IllegalStateException.class, () -> process.resize(TerminalSize.DEFAULT));
    }
  }

  @Test
  void processThatTheGuestDoesNotKillInTimeIsGivenUpByTheHost() {
    // The fake guest knows no deadlines.
    ProcessSpec spec = ProcessSpec.builder("hang").timeout(Duration.ofMillis(1)).build();
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec(spec));
    assertEquals(ProcessException.Reason.TIMED_OUT, e.reason());
  }

  @Test
  void interruptedExecKillsTheProcess() throws Exception {
    try (Sandbox own = fake.start()) {
      CompletableFuture<Throwable> outcome = new CompletableFuture<>();
      CompletableFuture<Boolean> flag = new CompletableFuture<>();
      Thread thread =
          new Thread(
              () -> {
                try {
                  own.exec("hang");
                } catch (Throwable e) {
                  flag.complete(Thread.currentThread().isInterrupted());
                  outcome.complete(e);
                }
              });
      thread.start();
      // Whether the interrupt comes before, in, or after the start: the outcome is the same.
      thread.interrupt();
      assertInstanceOf(InterruptedOperationException.class, outcome.get());
      assertTrue(flag.get());
      own.exec("true");
    }
  }

  @Test
  void asynchronousExecThatNobodyWaitsForAnyMoreIsKilled() throws Exception {
    List<Consumer<CompletableFuture<ExecResult>>> ways =
        List.of(
            result -> result.cancel(true),
            result -> result.completeExceptionally(new TimeoutException("as orTimeout does it")));
    for (var way : ways) {
      try (Sandbox own = fake.start()) {
        CompletableFuture<ExecResult> result = own.execAsync(ProcessSpec.of("hang"));
        fake.machine().agent().awaitProcesses(1);
        way.accept(result);
        fake.machine().agent().awaitProcesses(0);
      }
    }
  }

  @Test
  void manyExecsRunAtOnce() throws Exception {
    List<CompletableFuture<ExecResult>> results = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      results.add(sandbox.execAsync(ProcessSpec.of("echo", "number " + i)));
    }
    for (int i = 0; i < 200; i++) {
      assertEquals("number " + i + "\n", results.get(i).get().stdout().text());
    }
  }

  @Test
  void guestThatDiesEndsEverythingWithItsReason() throws Exception {
    try (Sandbox own = fake.start()) {
      GuestProcess process = own.start(ProcessSpec.of("hang"));
      CompletableFuture<ExecResult> exec = own.execAsync(ProcessSpec.of("hang"));
      assertTrue(own.isAlive());
      fake.machine().panic();
      SandboxEndedException ended = assertThrows(SandboxEndedException.class, process::waitFor);
      assertEquals(SandboxExit.Reason.GUEST_CRASHED, ended.exit().reason());
      assertTrue(ended.getMessage().contains("Kernel panic"), ended::getMessage);
      ExecutionException failed = assertThrows(ExecutionException.class, exec::get);
      assertInstanceOf(SandboxEndedException.class, failed.getCause());
      assertThrows(IOException.class, () -> process.stdout().read());
      SandboxExit exit = own.onExit().get();
      assertEquals(SandboxExit.Reason.GUEST_CRASHED, exit.reason());
      assertEquals(VmExit.Reason.RESET, exit.machine().orElseThrow().reason());
      assertFalse(own.isAlive());
      assertThrows(SandboxEndedException.class, () -> own.exec("true"));
      assertTrue(own.console().contains("Kernel panic"));
      process.close();
    }
  }

  @Test
  void lostConnectionEndsTheSandbox() throws Exception {
    try (Sandbox own = fake.start()) {
      fake.machine().breakConnections();
      SandboxEndedException ended =
          assertThrows(
              SandboxEndedException.class,
              () -> {
                while (true) {
                  own.exec("true");
                }
              });
      assertTrue(ended.getMessage().contains("lost the connection"), ended::getMessage);
      assertEquals(SandboxExit.Reason.CONNECTION_LOST, own.onExit().get().reason());
    }
  }

  /** However long what else waits for the machine's end holds up who tells it. */
  @Test
  void anEndOfTheMachineThatIsKnownIsNoLossOfItsConnection() throws Exception {
    CompletableFuture<Void> held = new CompletableFuture<>();
    CompletableFuture<Void> holds = new CompletableFuture<>();
    try (Sandbox own = fake.start()) {
      FakeMachine machine = fake.machine();
      // What has come last to wait for a future is told first.
      var unused =
          machine
              .exit()
              .thenRun(
                  () -> {
                    held.complete(null);
                    holds.join();
                  });
      CompletableFuture<Void> ending =
          CompletableFuture.runAsync(() -> machine.endBy(VmExit.Reason.RESET));
      held.get(1, TimeUnit.MINUTES);
      machine.loseConnections();
      SandboxExit exit = own.onExit().get(1, TimeUnit.MINUTES);
      assertEquals(SandboxExit.Reason.GUEST_CRASHED, exit.reason(), exit::toString);
      assertFalse(ending.isDone());
      holds.complete(null);
      ending.get(1, TimeUnit.MINUTES);
    } finally {
      holds.complete(null);
    }
  }

  @Test
  void startOverALostConnectionFails() {
    try (Sandbox own = fake.start()) {
      GuestProcess process = own.start(ProcessSpec.of("hang"));
      fake.machine().breakConnections();
      assertThrows(IOException.class, () -> process.stdout().read());
      // Known on the event loop, and not yet to the sandbox.
      assertThrows(SandboxEndedException.class, () -> own.start(ProcessSpec.of("true")));
    }
  }

  @Test
  void guestThatBreaksACallOffIsToldAsSuch() {
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec("unavailable"));
    assertEquals(ProcessException.Reason.GUEST_MISBEHAVED, e.reason());
    assertEquals("still there\n", run(ProcessSpec.of("echo", "still", "there")));
  }

  @Test
  void guestThatCanRunNothingAnyMoreEndsTheSandbox() throws Exception {
    try (Sandbox own = fake.start()) {
      GuestProcess process = own.start(ProcessSpec.of("hang"));
      SandboxEndedException ended =
          assertThrows(SandboxEndedException.class, () -> own.exec("init-ended"));
      assertTrue(
          ended.getMessage().contains("because of its guest (the workload's init was killed)"),
          ended::getMessage);
      assertEquals(SandboxExit.Reason.GUEST_ENDED, own.onExit().get().reason());
      assertThrows(SandboxEndedException.class, process::waitFor);
      assertThrows(SandboxEndedException.class, () -> own.exec("true"));
    }
  }

  @Test
  void asynchronousExecFailsOnlyInItsFuture() throws Exception {
    Sandbox own = fake.start();
    own.close();
    ExecutionException failed =
        assertThrows(ExecutionException.class, own.execAsync(ProcessSpec.of("true"))::get);
    assertInstanceOf(SandboxEndedException.class, failed.getCause());
  }

  @Test
  void closingFromManyThreadsClosesOnce() throws Exception {
    Sandbox own = fake.start();
    GuestProcess process = own.start(ProcessSpec.of("hang"));
    CountDownLatch go = new CountDownLatch(1);
    List<Thread> closers = new ArrayList<>();
    for (int i = 0; i < 16; i++) {
      Thread closer =
          new Thread(
              () -> {
                try {
                  go.await();
                } catch (InterruptedException e) {
                  return;
                }
                own.close();
              });
      closer.start();
      closers.add(closer);
    }
    go.countDown();
    for (Thread closer : closers) {
      closer.join();
    }
    assertThrows(NacelleException.class, process::waitFor);
    assertThrows(SandboxEndedException.class, () -> own.exec("true"));
    assertEquals(SandboxExit.Reason.CLOSED, own.onExit().get().reason());
  }

  @Test
  void infoAndTimelineSayWhatItIsMadeOf() {
    SandboxInfo info = sandbox.info();
    assertEquals("6.1.0-fake", info.kernelRelease());
    assertTrue(info.runsBootedKernel());
    assertEquals("x86_64", info.machine());
    assertEquals("1.2.3", info.agentVersion());
    assertEquals(DataSize.mebibytes(200), info.memory());
    assertTrue(info.name().startsWith("sandbox-"), info::name);
    BootTimeline timeline = sandbox.timeline();
    for (Stage stage :
        List.of(
            Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE)) {
      assertTrue(timeline.duration(stage).isPresent(), stage::toString);
    }
    assertEquals(
        Duration.ofMillis(5),
        timeline.part(Stage.BOOT, "modules").map(BootTimeline.Entry::duration).orElseThrow());
    assertTrue(timeline.toString().contains("\n  kernel "), timeline::toString);
    assertTrue(timeline.toString().contains("\n  root "), timeline::toString);
    assertTrue(timeline.total().compareTo(timeline.duration(Stage.BOOT).orElseThrow()) > 0);
  }

  @Test
  void guestThatSaysItRunsAnotherKernelIsReported() {
    for (String[] booted :
        List.of(
            new String[] {"6.1.1-fake", "#1 SMP fake"}, new String[] {"6.1.0-fake", "#2 SMP"})) {
      Sources sources =
          new FakeSources() {
            @Override
            public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) throws Exception {
              BootKernel kernel = super.kernel(spec, drivers);
              return new BootKernel(
                  kernel.vmlinux(),
                  kernel.ref(),
                  booted[0],
                  booted[1],
                  kernel.hasBuiltIn(),
                  kernel.initramfs(),
                  kernel.giveBack());
            }
          };
      try (FakeNacelle other = new FakeNacelle(Fault.NONE, sources, event -> {});
          Sandbox own = other.start()) {
        assertFalse(own.info().runsBootedKernel());
        assertEquals(booted[0], own.info().bootedRelease());
        assertEquals(booted[1], own.info().bootedVersion());
        assertEquals("6.1.0-fake", own.info().kernelRelease());
      }
    }
  }

  @Test
  void stoppingSendsTheStopSignalAndTellsHowItEnded() {
    ProcessSpec spec = ProcessSpec.builder("hang").stopSignal(Signal.USR1).build();
    try (GuestProcess process = sandbox.start(spec)) {
      // The program ends with the number of the signal that it gets.
      assertEquals(Signal.USR1.number(), process.stop(Duration.ofHours(1)).exitCode());
    }
    try (GuestProcess process = sandbox.start(ProcessSpec.of("hang"))) {
      ExitStatus status = process.stop(Duration.ofHours(1));
      assertEquals(Signal.TERM, status.signal().orElseThrow());
    }
  }

  @Test
  void stoppingKillsWhoDoesNotEnd() {
    ProcessSpec deaf = ProcessSpec.builder("terminal-size").stopSignal(Signal.USR1).build();
    for (Duration grace : List.of(Duration.ZERO, Duration.ofMillis(1))) {
      try (GuestProcess process = sandbox.start(deaf)) {
        assertEquals(Signal.KILL, process.stop(grace).signal().orElseThrow());
      }
    }
  }

  @Test
  void theRealEndOfAProcessThatWasKilledIsTold() throws Exception {
    // As one that ends by itself at the same moment.
    ProcessSpec quick = ProcessSpec.of("ends-when-killed");
    try (GuestProcess process = sandbox.start(quick)) {
      assertEquals(5, process.stop(Duration.ZERO).exitCode());
    }
    GuestProcess process = sandbox.start(quick);
    process.close();
    assertEquals(5, process.onExit().get().exitCode());
  }

  @Test
  void stoppingDoesNotWaitForAReader() {
    try (GuestProcess process = sandbox.start(ProcessSpec.of("flood", "16"))) {
      assertEquals(Signal.TERM, process.stop(Duration.ofMillis(1)).signal().orElseThrow());
    }
  }

  @Test
  void processesAreListedAndCanBeSignalled() {
    try (Sandbox own = fake.start();
        GuestProcess one = own.start(ProcessSpec.of("hang", "one"));
        GuestProcess two = own.start(ProcessSpec.of("hang", "two"))) {
      List<GuestProcessInfo> all = own.processes();
      assertEquals(
          List.of("hang one", "hang two"), all.stream().map(GuestProcessInfo::command).toList());
      assertEquals(OptionalLong.of(one.pid()), all.get(0).pid());
      own.signal(all.get(0), Signal.KILL, SignalScope.TREE);
      assertEquals(Signal.KILL, one.waitFor().signal().orElseThrow());
      own.signal(all.get(0), Signal.KILL, SignalScope.TREE);
      assertTrue(two.isAlive());
    }
  }

  @Test
  void nobodyElseCanDialOnceTheAgentHas() {
    try (Sandbox own = fake.start()) {
      assertTrue(own.isAlive());
      assertEquals(Set.of(), fake.machine().listening());
    }
  }

  @Test
  void lingerAndStartTimeoutReachTheGuest() {
    ProcessSpec.Builder spec = ProcessSpec.builder("print-request");
    String defaults = run(spec.build());
    assertFalse(defaults.contains("linger_nanos"), defaults);
    assertTrue(defaults.contains("start_timeout_nanos: 30000000000"), defaults);
    String given = run(spec.linger(Duration.ZERO).startTimeout(Duration.ofSeconds(1)).build());
    assertTrue(given.contains("linger_nanos: 0"), given);
    assertTrue(given.contains("start_timeout_nanos: 1000000000"), given);
  }

  @Test
  void guestThatIgnoresSignalsIsNotWaitedFor() {
    try (FakeNacelle deaf = new FakeNacelle(Fault.IGNORES_SIGNALS);
        Sandbox own = deaf.start();
        GuestProcess process = own.start(ProcessSpec.of("hang"));
        GuestProcess other = own.start(ProcessSpec.of("hang"))) {
      CompletableFuture<ExitStatus> stopped =
          CompletableFuture.supplyAsync(() -> other.stop(Duration.ofSeconds(Long.MAX_VALUE)));
      ProcessException e = assertThrows(ProcessException.class, () -> process.signal(Signal.TERM));
      assertEquals(ProcessException.Reason.GUEST_MISBEHAVED, e.reason());
      assertTrue(process.isAlive());
      assertEquals(Signal.KILL, stopped.join().signal().orElseThrow());
      assertEquals(Signal.KILL, process.stop(Duration.ofMillis(1)).signal().orElseThrow());
    }
  }

  @Test
  void waitingMayBeForAsLongAsOneCanSay() {
    try (GuestProcess process = sandbox.start(ProcessSpec.of("true"))) {
      Duration longest = Duration.ofSeconds(Long.MAX_VALUE);
      assertEquals(0, process.waitFor(longest).orElseThrow().exitCode());
    }
  }

  @Test
  void theImagesConfigurationCanBeRead() {
    assertEquals(List.of("from-cmd"), sandbox.info().imageConfig().command());
  }

  @Test
  void machineIsWhatTheSpecificationSays() {
    SandboxSpec spec =
        FakeNacelle.spec()
            .name("mine")
            .memory(DataSize.parse("300MB"))
            .cpus(3)
            .kernelParameters("mitigations=off")
            .sysctl("net/core/somaxconn", "128")
            .sysctl("kernel.sem", "250 32000\t32 128")
            .writableLayer(WritableLayer.inMemory(DataSize.mebibytes(10)))
            .sharedMemory(DataSize.mebibytes(11))
            .pidsLimit(99)
            .rateLimits(RateLimits.NONE.withDisks(RateLimit.operations(7)))
            .cpuQuota(1.5)
            .niceness(4)
            .coreScheduling(false)
            .label("team", "a")
            .build();
    try (Sandbox own = fake.nacelle.start(spec)) {
      var machine = fake.machine().spec();
      assertEquals(RateLimits.NONE.withDisks(RateLimit.operations(7)), machine.rateLimits());
      assertEquals(OptionalDouble.of(1.5), machine.cpuQuota());
      assertEquals(4, machine.niceness());
      assertFalse(machine.coreScheduling());
      assertEquals("mine", machine.name());
      assertEquals(DataSize.bytes(300_003_328), machine.memory());
      assertEquals(3, machine.cpus());
      assertTrue(((VmSpec.Linux) machine.guest()).parameters().contains("mitigations=off"));
      assertTrue(machine.disks().get(0).readOnly());
      var prepared = fake.machine().agent().prepared().get(0);
      assertEquals(
          FakeHypervisor.CONTROLLER.toString(), prepared.getRoot().getDiskScsi().getController());
      assertEquals(0, prepared.getRoot().getDiskScsi().getLun());
      assertFalse(prepared.getRoot().hasScratchScsi() || prepared.getRoot().hasScratchSerial());
      assertEquals(10 << 20, prepared.getRoot().getWritableBytes());
      assertEquals(11 << 20, prepared.getSharedMemoryBytes());
      assertEquals("mine", prepared.getHostname());
      assertEquals(99, prepared.getLimits().getPids());
      assertEquals(
          List.of("net.core.somaxconn=128", "kernel.sem=250 32000\t32 128"),
          prepared.getSysctlsList().stream().map(s -> s.getName() + "=" + s.getValue()).toList());
      assertEquals(64, prepared.getEntropy().size());
      assertTrue(prepared.getRealtimeNanos() > 0);
      assertEquals("a", own.info().labels().get("team"));
    }
  }
}
