// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.BootException;
import dev.nacelle.DataSize;
import dev.nacelle.ExecResult;
import dev.nacelle.HypervisorException;
import dev.nacelle.HypervisorUnavailableException;
import dev.nacelle.ImageException;
import dev.nacelle.InterruptedOperationException;
import dev.nacelle.KernelException;
import dev.nacelle.Nacelle;
import dev.nacelle.NacelleException;
import dev.nacelle.PreparedSandbox;
import dev.nacelle.ProcessSpec;
import dev.nacelle.PrunePolicy;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxListener;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Stage;
import dev.nacelle.TestImages;
import dev.nacelle.UnikernelSpec;
import dev.nacelle.VmExit;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.PullPolicy;
import dev.nacelle.image.store.ResolvedImage;
import dev.nacelle.internal.ThreadBaseline;
import dev.nacelle.kernel.KernelLockMode;
import dev.nacelle.spi.GuestDriver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@ExtendWith(NettyLeaks.class)
@Timeout(120)
class NacelleTest {
  /** For a start to come as far as it does. */
  private static final Duration ENOUGH = Duration.ofSeconds(3);

  private final ThreadBaseline before = ThreadBaseline.now();

  @AfterEach
  void noThreadIsLeft() throws InterruptedException {
    before.assertEnded();
  }

  private static BootException bootFailure(Fault fault, Duration timeout) {
    try (FakeNacelle fake = new FakeNacelle(fault)) {
      SandboxSpec spec = FakeNacelle.spec().name("box").startTimeout(timeout).build();
      BootException e = assertThrows(BootException.class, () -> fake.nacelle.start(spec));
      assertEquals(0, fake.hypervisor.openMachines());
      return e;
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Fault.class,
      names = {"PANICS_BEFORE_DIALLING", "DIES_IN_GET_INFO", "DIES_IN_PREPARE"})
  void guestThatPanicsIsToldWithItsLastConsoleLines(Fault fault) {
    BootException e = bootFailure(fault, Duration.ofMinutes(5));
    assertEquals(VmExit.Reason.RESET, e.machine().orElseThrow().reason());
    assertTrue(e.console().contains("Kernel panic"), e::console);
    assertTrue(e.getMessage().contains("Kernel panic - not syncing: fake"), e::getMessage);
    assertEquals(fault == Fault.DIES_IN_PREPARE ? Stage.PREPARE : Stage.BOOT, e.stage());
    assertTrue(!e.timedOut());
  }

  @ParameterizedTest
  @EnumSource(
      value = Fault.class,
      names = {"NEVER_DIALS", "DIALS_AND_IS_SILENT", "NEVER_PREPARES"})
  void guestThatNeverBecomesReadyIsGivenUpAtTheDeadline(Fault fault) {
    BootException e = bootFailure(fault, ENOUGH);
    assertTrue(e.timedOut());
    assertTrue(!e.isTransient());
    assertTrue(e.getMessage().contains("not ready within " + ENOUGH), e::getMessage);
    assertTrue(e.getMessage().contains("Linux version"), e::getMessage);
    assertEquals(fault == Fault.NEVER_PREPARES ? Stage.PREPARE : Stage.BOOT, e.stage());
  }

  @ParameterizedTest
  @EnumSource(
      value = Fault.class,
      names = {"SPEAKS_GARBAGE", "BREAKS_CONNECTION_IN_PREPARE"})
  void guestThatBreaksTheProtocolIsToldAsSuch(Fault fault) {
    BootException e = bootFailure(fault, Duration.ofMinutes(5));
    assertTrue(e.getMessage().contains("guest agent of the sandbox box failed"), e::getMessage);
  }

  @Test
  void refusalToPrepareCarriesTheAgentsWords() {
    BootException e = bootFailure(Fault.REFUSES_TO_PREPARE, Duration.ofMinutes(5));
    assertEquals(Stage.PREPARE, e.stage());
    assertTrue(e.getMessage().contains("Structure needs cleaning"), e::getMessage);
  }

  @Test
  void machineThatCannotBeMadeIsTheHypervisorsError() {
    try (FakeNacelle fake = new FakeNacelle(Fault.CREATE_FAILS)) {
      HypervisorException e = assertThrows(HypervisorException.class, fake::start);
      assertEquals("Raise the limit.", e.remedy().orElseThrow());
      assertEquals(Stage.CREATE, e.stage());
    }
  }

  @Test
  void unusableHostIsToldWithItsRemedy() {
    HypervisorUnavailableException e =
        assertThrows(
            HypervisorUnavailableException.class, () -> new FakeNacelle(Fault.UNUSABLE_HOST));
    assertEquals("Load the fake module.", e.remedy().orElseThrow());
    assertTrue(e.getMessage().contains("/dev/fake does not exist"), e::getMessage);
    assertEquals("fake", e.checks().get(0).hypervisor());
  }

  @Test
  void hypervisorOfAnUnknownNameIsToldWithThoseThatAreThere() {
    HypervisorUnavailableException e =
        assertThrows(
            HypervisorUnavailableException.class,
            () -> Nacelle.builder().hypervisor("nosuch").build());
    assertTrue(e.getMessage().contains("no hypervisor 'nosuch'"), e::getMessage);
  }

  @Test
  void preparingTakesImageKernelAndInitramfsButNoHypervisor() {
    List<String> taken = new ArrayList<>();
    FakeSources sources =
        new FakeSources() {
          @Override
          ResolvedImage image(ImageRef ref) throws Exception {
            taken.add(ref.toString());
            return super.image(ref);
          }

          @Override
          public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) {
            taken.add(spec.kernel().toString());
            assertEquals(FakeHypervisor.DRIVERS, drivers);
            return new BootKernel(
                Path.of("/fake/vmlinux"),
                spec.kernel(),
                "6.1.0-fake",
                "#1 SMP fake",
                "FAKE_GUEST"::equals,
                () -> {
                  taken.add("initramfs");
                  return Path.of("/fake/initramfs.cpio");
                },
                () -> {});
          }
        };
    SandboxSpec spec = FakeNacelle.spec().build();
    FakeHypervisor unusable = new FakeHypervisor(Map.of(), Fault.UNUSABLE_HOST);
    new EngineBuilder().hypervisor(unusable).sources(sources).prepare(spec);
    assertEquals(List.of(spec.image().toString(), spec.kernel().toString(), "initramfs"), taken);
  }

  @Test
  void preparingForAHypervisorThatIsNotThereNamesIt() {
    EngineBuilder builder = new EngineBuilder().hypervisor("none-of-this-name");
    SandboxSpec spec = FakeNacelle.spec().build();
    HypervisorUnavailableException e =
        assertThrows(
            HypervisorUnavailableException.class,
            () -> builder.sources(new FakeSources()).prepare(spec));
    assertTrue(e.getMessage().contains("'none-of-this-name'"), e::getMessage);
  }

  @Test
  void preparingAnswersWithWhatASandboxWouldBeStartedFromAndUsesNothingAfterwards() {
    FakeSources sources = new FakeSources();
    SandboxSpec spec = FakeNacelle.spec().build();
    FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, event -> {});
    try (fake) {
      PreparedSandbox prepared = fake.nacelle.prepare(spec);
      assertEquals(spec.image().withDigest(prepared.imageDigest()), prepared.image());
      assertEquals("0".repeat(64), prepared.imageDigest().hex());
      assertEquals(spec.kernel(), prepared.kernel());
      assertEquals("6.1.0-fake", prepared.kernelRelease());
      assertEquals(DataSize.kibibytes(4), prepared.imageSize());
      assertEquals(DataSize.kibibytes(4), prepared.kernelSize());
      assertEquals(DataSize.kibibytes(4), prepared.initramfsSize());
      assertEquals(0, sources.imagesInUse.get());
      assertEquals(0, sources.kernelsInUse.get());
      assertEquals(List.of(), fake.nacelle.pruneKernels(PrunePolicy.everything()).removed());
    }
    assertThrows(IllegalStateException.class, () -> fake.nacelle.prepare(spec));
  }

  @Test
  void failureOfTheImageReachesTheCaller() {
    ImageException failure =
        new ImageException(ImageException.Reason.DAMAGED, "no such layer", null, null);
    Sources sources =
        new FakeSources() {
          @Override
          ResolvedImage image(ImageRef ref) {
            throw failure;
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, event -> {})) {
      assertSame(failure, assertThrows(ImageException.class, fake::start));
      assertEquals(List.of(), fake.hypervisor.machines());
    }
  }

  @Test
  void failureOfTheKernelDoesNotWaitForTheImage() throws Exception {
    KernelException failure =
        new KernelException(KernelException.Reason.NOT_FOUND, "no kernel", null, null);
    CompletableFuture<Void> interrupted = new CompletableFuture<>();
    CountDownLatch imageAskedFor = new CountDownLatch(1);
    Sources sources =
        new FakeSources() {
          @Override
          ResolvedImage image(ImageRef ref) throws Exception {
            imageAskedFor.countDown();
            return stuck(interrupted);
          }

          @Override
          public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) throws Exception {
            imageAskedFor.await();
            throw failure;
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, event -> {})) {
      assertSame(failure, assertThrows(KernelException.class, fake::start));
      interrupted.get();
    }
  }

  /** Blocks until it is interrupted. */
  private static ResolvedImage stuck(CompletableFuture<Void> interrupted) throws Exception {
    try {
      new CountDownLatch(1).await();
      throw new AssertionError();
    } catch (InterruptedException e) {
      interrupted.complete(null);
      throw e;
    }
  }

  @Test
  void imageThatTakesTooLongIsGivenUpAndInterrupted() throws Exception {
    CompletableFuture<Void> interrupted = new CompletableFuture<>();
    Sources sources =
        new FakeSources() {
          @Override
          ResolvedImage image(ImageRef ref) throws Exception {
            return stuck(interrupted);
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, event -> {})) {
      SandboxSpec spec = FakeNacelle.spec().fetchTimeout(ENOUGH).build();
      BootException e = assertThrows(BootException.class, () -> fake.nacelle.start(spec));
      assertTrue(e.timedOut());
      assertTrue(e.isTransient());
      assertTrue(e.remedy().orElse("").contains("more time"), e::getMessage);
      interrupted.get(30, TimeUnit.SECONDS);
    }
  }

  @Test
  void interruptedStartIsGivenUp() throws Exception {
    try (FakeNacelle fake = new FakeNacelle(Fault.NEVER_DIALS)) {
      CompletableFuture<Throwable> outcome = new CompletableFuture<>();
      Thread thread =
          new Thread(
              () -> {
                try {
                  fake.start();
                } catch (Throwable e) {
                  outcome.complete(e);
                }
              });
      thread.start();
      thread.interrupt();
      assertInstanceOf(InterruptedOperationException.class, outcome.get());
      thread.join();
    }
  }

  @Test
  void aHostThatEmulatesKernelsIsToldBeforeAMachineIsMadeAndStillRunsUnikernels() {
    try (FakeNacelle fake = new FakeNacelle(Fault.EMULATES_KERNELS)) {
      HypervisorUnavailableException e =
          assertThrows(HypervisorUnavailableException.class, fake::start);
      assertEquals(Stage.HOST, e.stage());
      assertTrue(e.getMessage().contains("runs-kernels"), e::getMessage);
      assertEquals("Use another host.", e.remedy().orElseThrow());
      assertEquals(List.of(), fake.hypervisor.machines());
      fake.nacelle
          .startUnikernel(UnikernelSpec.builder().image(Path.of("/fake/image")).build())
          .close();
    }
  }

  @Test
  void theStageOfATimeoutIsTheFirstThatIsNotOver() {
    CompletableFuture<Void> packed = new CompletableFuture<>();
    SandboxListener listener =
        event -> {
          if (event instanceof SandboxEvent.StageEnded e && e.stage() == Stage.INITRAMFS) {
            packed.complete(null);
          }
        };
    FakeSources sources =
        new FakeSources() {
          @Override
          ResolvedImage image(ImageRef ref) throws Exception {
            packed.get();
            return new CompletableFuture<ResolvedImage>().get();
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, listener)) {
      SandboxSpec spec = FakeNacelle.spec().fetchTimeout(ENOUGH).build();
      BootException e = assertThrows(BootException.class, () -> fake.nacelle.start(spec));
      assertEquals(Stage.IMAGE, e.stage());
      assertTrue(e.getMessage().contains("as far as IMAGE"), e::getMessage);
    }
  }

  @Test
  void aFailureIsOfTheStageWhoseWorkFailed() {
    FakeSources sources =
        new FakeSources() {
          @Override
          public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) {
            throw new IllegalArgumentException("a bad path");
          }

          @Override
          ResolvedImage image(ImageRef ref) throws Exception {
            return new CompletableFuture<ResolvedImage>().get();
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, event -> {})) {
      NacelleException e = assertThrows(NacelleException.class, fake::start);
      assertEquals(Stage.KERNEL, e.stage());
      assertTrue(e.getMessage().contains("a bad path"), e::getMessage);
    }
  }

  @Test
  void startThatNobodyWaitsForAnyMoreTearsTheMachineDown() throws Exception {
    List<Consumer<CompletableFuture<Sandbox>>> ways =
        List.of(
            start -> start.cancel(true),
            start -> start.completeExceptionally(new TimeoutException("as orTimeout does it")));
    for (var way : ways) {
      CompletableFuture<Void> booting = new CompletableFuture<>();
      SandboxListener listener =
          event -> {
            if (event instanceof SandboxEvent.StageStarted e && e.stage() == Stage.BOOT) {
              booting.complete(null);
            }
          };
      try (FakeNacelle fake = new FakeNacelle(Fault.NEVER_DIALS, new FakeSources(), listener)) {
        CompletableFuture<Sandbox> start = fake.nacelle.startAsync(FakeNacelle.spec().build());
        booting.get();
        way.accept(start);
        assertEquals(VmExit.Reason.CLOSED, fake.machine().exit().get().reason());
      }
    }
  }

  @Test
  void machineThatCannotBeClosedHoldsUpNobody() throws Exception {
    FakeSources sources = new FakeSources();
    try (FakeNacelle fake = new FakeNacelle(Fault.CLOSE_FAILS, sources, event -> {})) {
      Sandbox closed = fake.start();
      Sandbox left = fake.start();
      closed.close();
      closed.close();
      assertEquals(1, sources.imagesInUse.get());
      fake.nacelle.close();
      assertEquals(SandboxExit.Reason.CLOSED, left.onExit().get().reason());
      assertEquals(0, sources.imagesInUse.get());
      assertTrue(fake.hypervisor.isClosed());
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Stage.class,
      names = {"IMAGE", "KERNEL", "INITRAMFS", "CREATE", "BOOT", "PREPARE"})
  void closingInAnyStageGivesTheStartUp(Stage stage) throws Exception {
    CompletableFuture<Void> reached = new CompletableFuture<>();
    SandboxListener listener =
        event -> {
          if (event instanceof SandboxEvent.StageStarted e && e.stage() == stage) {
            reached.complete(null);
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NEVER_PREPARES, new FakeSources(), listener)) {
      CompletableFuture<Sandbox> start = fake.nacelle.startAsync(FakeNacelle.spec().build());
      reached.get();
      fake.nacelle.close();
      ExecutionException e = assertThrows(ExecutionException.class, start::get);
      assertTrue(e.getCause().getMessage().contains("was closed"), e::toString);
      assertEquals(0, fake.hypervisor.openMachines());
      assertTrue(fake.hypervisor.isClosed());
    }
  }

  @Test
  void sandboxesThatRunAreListedInTheOrderOfTheirStart() throws Exception {
    FakeNacelle fake = new FakeNacelle(Fault.IGNORES_SHUTDOWN);
    assertEquals(List.of(), fake.nacelle.sandboxes());
    Sandbox first = fake.nacelle.start(FakeNacelle.spec().stopGrace(Duration.ofHours(1)).build());
    Sandbox second = fake.start();
    Sandbox third = fake.start();
    List<Sandbox> before = fake.nacelle.sandboxes();
    assertEquals(List.of(first, second, third), before);
    second.close();
    assertEquals(List.of(first, third), fake.nacelle.sandboxes());
    // One that is about to end runs no more.
    CompletableFuture<Void> closing = CompletableFuture.runAsync(first::close);
    fake.hypervisor.machines().get(0).askedToShutDown().get();
    assertEquals(List.of(third), fake.nacelle.sandboxes());
    first.kill();
    closing.get();
    assertEquals(3, before.size());
    assertThrows(UnsupportedOperationException.class, () -> before.remove(third));
    fake.close();
    assertEquals(List.of(), fake.nacelle.sandboxes());
  }

  @Test
  void closingEndsEverySandbox() throws Exception {
    FakeNacelle fake = new FakeNacelle();
    List<Sandbox> sandboxes = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      sandboxes.add(fake.start());
    }
    CompletableFuture<ExecResult> exec = sandboxes.get(3).execAsync(ProcessSpec.of("hang"));
    List<Thread> closers = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      Thread closer = new Thread(fake.nacelle::close);
      closer.start();
      closers.add(closer);
    }
    for (Thread closer : closers) {
      closer.join();
    }
    assertThrows(ExecutionException.class, exec::get);
    for (Sandbox sandbox : sandboxes) {
      SandboxExit exit = sandbox.onExit().get();
      assertEquals(SandboxExit.Reason.CLOSED, exit.reason());
      assertEquals("was closed with its Nacelle", exit.detail());
      assertThrows(SandboxEndedException.class, () -> sandbox.exec("true"));
      sandbox.close();
    }
    assertEquals(0, fake.hypervisor.openMachines());
    assertThrows(IllegalStateException.class, fake::start);
  }

  @Test
  void closingFromADependentOfItsOwnFutureDoesNotHang() throws Exception {
    FakeNacelle fake = new FakeNacelle();
    fake.nacelle
        .startAsync(FakeNacelle.spec().build())
        .thenAccept(sandbox -> fake.nacelle.close())
        .get();
    fake.close();
  }

  @Test
  void manySandboxesStartAndEndAtOnce() throws Exception {
    try (FakeNacelle fake = new FakeNacelle()) {
      List<CompletableFuture<String>> outputs = new ArrayList<>();
      for (int i = 0; i < 40; i++) {
        String number = String.valueOf(i);
        outputs.add(
            fake.nacelle
                .startAsync(FakeNacelle.spec().build())
                .thenApply(
                    sandbox -> {
                      try (sandbox) {
                        return sandbox.exec("echo", number).stdout().text();
                      }
                    }));
      }
      for (int i = 0; i < 40; i++) {
        assertEquals(i + "\n", outputs.get(i).get());
      }
      assertEquals(0, fake.hypervisor.openMachines());
    }
  }

  private static Nacelle.Builder builder() {
    return new EngineBuilder().hypervisor(new FakeHypervisor(Map.of(), Fault.NONE));
  }

  @Test
  void imagesThatAreNotToBePulledAreAnErrorWhoeverSaysSo(@TempDir Path cache) {
    SandboxSpec.Builder spec = FakeNacelle.spec().image("registry.invalid/app");
    Nacelle.Builder nacelle = builder().cacheDirectory(cache);
    for (var attempt :
        List.<Runnable>of(
            () -> nacelle.prepare(spec.pullPolicy(PullPolicy.NEVER).build()),
            () -> {
              SandboxSpec silent = FakeNacelle.spec().image("registry.invalid/app").build();
              nacelle.pullPolicy(PullPolicy.NEVER).prepare(silent);
            })) {
      ImageException e = assertThrows(ImageException.class, attempt::run);
      assertTrue(e.getMessage().contains("not to be pulled"), e::getMessage);
    }
    assertEquals(List.of(), nacelle.pruneImages(PrunePolicy.everything()).removed());
  }

  @Test
  void aFrozenLockRefusesAKernelItDoesNotKnow(@TempDir Path directory) throws Exception {
    Path lock = directory.resolve("kernels.lock.json");
    SandboxSpec spec =
        FakeNacelle.spec()
            .image(TestImages.busybox(directory.resolve("image")))
            .kernel("debian:6.12")
            .build();
    Nacelle.Builder nacelle =
        builder()
            .cacheDirectory(directory.resolve("cache"))
            .kernelLock(lock, KernelLockMode.FROZEN);
    KernelException absent = assertThrows(KernelException.class, () -> nacelle.prepare(spec));
    assertTrue(absent.getMessage().contains(lock + " does not exist"), absent::getMessage);
    Files.writeString(lock, "{\"version\": 1, \"kernels\": {}}");
    KernelException unknown = assertThrows(KernelException.class, () -> nacelle.prepare(spec));
    assertTrue(unknown.getMessage().contains("debian:6.12 is not in"), unknown::getMessage);
  }

  @Test
  void imageAndKernelAreInUseAsLongAsTheirSandboxLives() {
    FakeSources sources = new FakeSources();
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, sources, event -> {})) {
      Sandbox sandbox = fake.start();
      assertEquals(1, sources.imagesInUse.get());
      assertEquals(1, sources.kernelsInUse.get());
      sandbox.close();
      assertEquals(0, sources.imagesInUse.get());
      assertEquals(0, sources.kernelsInUse.get());
    }
    for (Fault fault : List.of(Fault.CREATE_FAILS, Fault.PANICS_BEFORE_DIALLING)) {
      try (FakeNacelle fake = new FakeNacelle(fault, sources, event -> {})) {
        assertThrows(NacelleException.class, fake::start);
        assertEquals(0, sources.imagesInUse.get());
        assertEquals(0, sources.kernelsInUse.get());
      }
    }
  }

  @Test
  void theTimeForTheStartDoesNotRunWhileTheImageIsFetched() throws Exception {
    CompletableFuture<ResolvedImage> fetched = new CompletableFuture<>();
    FakeSources sources =
        new FakeSources() {
          @Override
          ResolvedImage image(ImageRef ref) throws Exception {
            return fetched.get();
          }
        };
    try (FakeNacelle fake = new FakeNacelle(Fault.NEVER_DIALS, sources, event -> {})) {
      Duration moment = Duration.ofNanos(1);
      CompletableFuture<Sandbox> start =
          fake.nacelle.startAsync(FakeNacelle.spec().startTimeout(moment).build());
      assertThrows(TimeoutException.class, () -> start.get(300, TimeUnit.MILLISECONDS));
      fetched.complete(new FakeSources().image(ImageRef.parse("oci:/fake")));
      ExecutionException e = assertThrows(ExecutionException.class, start::get);
      assertTrue(((BootException) e.getCause()).timedOut(), e::toString);
      assertTrue(e.getMessage().contains("not ready within PT0.000000001S"), e::getMessage);
    }
  }

  @Test
  void kernelModulesAreNamedWithHyphensOrUnderscoresAndOnce() {
    SandboxSpec spec =
        FakeNacelle.spec().kernelModules("nf-tables", "tun").kernelModules("nf_tables").build();
    assertEquals(List.of("nf_tables", "tun"), spec.kernelModules());
  }
}
