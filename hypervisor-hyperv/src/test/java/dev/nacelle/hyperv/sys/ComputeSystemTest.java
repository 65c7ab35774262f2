// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Machines of the stand-in, which is strict: see src/test/c. */
@Timeout(60)
class ComputeSystemTest {
  private static final String ID = "m1";
  private static final Duration LONG = Duration.ofSeconds(30);
  private static final HcsLimits LIMITS = new HcsLimits(LONG, LONG, LONG);

  /** Long enough for what is not held, on a machine with much else to do. */
  private static final Duration SHORT = Duration.ofSeconds(2);

  private static final HcsLimits IMPATIENT = new HcsLimits(SHORT, SHORT, LONG);

  private final ExecutorService threads = Executors.newCachedThreadPool();
  private final BlockingQueue<HcsEvent> events = new LinkedBlockingQueue<>();

  @BeforeEach
  void reset() {
    StandIn.reset();
  }

  @AfterEach
  void nothingIsLeft() {
    threads.shutdownNow();
    StandIn.requireNothingLeft();
  }

  private ComputeSystem create(HcsLimits limits) {
    return ComputeSystem.create(ID, "{}", events::add, limits);
  }

  private HcsEvent nextEvent() throws InterruptedException {
    HcsEvent event = events.poll(30, TimeUnit.SECONDS);
    assertNotNull(event);
    return event;
  }

  @Test
  void stringsArriveAsTheyAre() {
    String document = "{\"Owner\":\"Grüße, 世界 \ud83d\udc27\"}";
    try (ComputeSystem system = ComputeSystem.create("ü-1", document, events::add, LIMITS)) {
      assertEquals("ü-1", StandIn.received("id"));
      assertEquals(document, StandIn.received("HcsCreateComputeSystem"));
      StandIn.answer("HcsGetComputeSystemProperties", document);
      assertEquals(document, system.properties(null));
      assertNull(StandIn.received("HcsGetComputeSystemProperties"));
      system.properties("{\"PropertyTypes\":[]}");
      assertEquals("{\"PropertyTypes\":[]}", StandIn.received("HcsGetComputeSystemProperties"));
    }
  }

  @Test
  void stringsStayUntilTheCallHasEnded() throws Exception {
    String request = "{\"ResourcePath\":\"" + "x".repeat(100) + "\"}";
    try (ComputeSystem system = create(LIMITS)) {
      system.start();
      // Until it is compiled: an interpreted method keeps what it does not use any more.
      for (int i = 0; i < 3000; i++) {
        system.modify(request);
      }
      StandIn.hold("HcsModifyComputeSystem");
      int calls = StandIn.calls("HcsModifyComputeSystem");
      Future<?> modify = threads.submit(() -> system.modify(request));
      StandIn.awaitCalls("HcsModifyComputeSystem", calls + 1);
      for (int i = 0; i < 5; i++) {
        System.gc();
        Thread.sleep(10);
      }
      StandIn.standin_release();
      await(modify);
    }
  }

  @Test
  void stringThatWouldBeCutIsRefused() {
    assertThrows(
        IllegalArgumentException.class,
        () -> ComputeSystem.create("m\0", "{}", events::add, LIMITS));
  }

  @Test
  void machineGoesThroughItsLife() throws Exception {
    try (ComputeSystem system = create(LIMITS)) {
      system.start();
      system.modify("{\"ResourcePath\":\"x\"}");
      assertEquals("{\"ResourcePath\":\"x\"}", StandIn.received("HcsModifyComputeSystem"));
      system.pause("{\"SuspensionLevel\":\"Suspend\"}");
      assertEquals("{\"SuspensionLevel\":\"Suspend\"}", StandIn.received("HcsPauseComputeSystem"));
      system.save("{\"SaveType\":\"ToFile\"}");
      assertEquals("{\"SaveType\":\"ToFile\"}", StandIn.received("HcsSaveComputeSystem"));
      system.resume();
      assertTrue(system.end().isEmpty());
      system.terminate();
      assertTrue(system.awaitEnd(LONG));
      assertEquals(HcsEvent.Type.SYSTEM_EXITED, system.end().orElseThrow().type());
      assertEquals(
          "{\"Status\":0,\"ExitType\":\"ForcedExit\"}", system.end().orElseThrow().document());
      system.terminate(); // ALREADY_STOPPED
    }
  }

  @Test
  void closingEndsTheMachineFirst() throws Exception {
    ComputeSystem system = create(LIMITS);
    system.start();
    system.close();
    assertEquals(1, StandIn.calls("HcsTerminateComputeSystem"));
    assertEquals(HcsEvent.Type.SYSTEM_EXITED, nextEvent().type());
    system.close();
    assertThrows(IllegalStateException.class, system::start);
    assertEquals(1, StandIn.calls("HcsTerminateComputeSystem"));
  }

  @Test
  void machineThatWasOpenedOutlivesClosing() throws Exception {
    try (ComputeSystem system = create(LIMITS)) {
      system.start();
      try (ComputeSystem opened = ComputeSystem.open(ID, LIMITS)) {
        opened.properties(null);
      }
      assertTrue(system.end().isEmpty());
      try (ComputeSystem opened = ComputeSystem.open(ID, LIMITS)) {
        opened.terminate();
        assertTrue(opened.awaitEnd(LONG));
      }
      assertTrue(system.awaitEnd(LONG));
    }
    HcsException e = assertThrows(HcsException.class, () -> ComputeSystem.open(ID, LIMITS));
    assertEquals(HResult.HCS_E_SYSTEM_NOT_FOUND, e.result());
  }

  @Test
  void nameThatIsTakenIsToldWithWhatToDo() {
    try (ComputeSystem first = create(LIMITS)) {
      HcsException e = assertThrows(HcsException.class, () -> create(LIMITS));
      assertEquals(HResult.HCS_E_SYSTEM_ALREADY_EXISTS, e.result());
      assertTrue(e.getMessage().contains(ID), e::getMessage);
      assertTrue(e.remedy().contains("hcsdiag"), e::remedy);
      first.start();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"HcsCreateOperation", "HcsCreateComputeSystem", "HcsSetComputeSystemCallback"})
  void nothingIsLeftOfWhatCannotBeMade(String function) {
    StandIn.failCall(function, HResult.E_OUTOFMEMORY);
    HcsException e = assertThrows(HcsException.class, () -> create(LIMITS));
    assertEquals(HResult.E_OUTOFMEMORY, e.result());
    assertTrue(e.getMessage().startsWith(function), e::getMessage);
  }

  @Test
  void callbackThatIsRefusedEndsWhatOpens() {
    try (ComputeSystem system = create(LIMITS)) {
      StandIn.failCall("HcsSetComputeSystemCallback", HResult.HCS_E_ACCESS_DENIED);
      assertThrows(HcsException.class, () -> ComputeSystem.open(ID, LIMITS));
      assertEquals(0, StandIn.calls("HcsTerminateComputeSystem"));
      system.start();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HcsStartComputeSystem",
        "HcsPauseComputeSystem",
        "HcsResumeComputeSystem",
        "HcsSaveComputeSystem",
        "HcsModifyComputeSystem",
        "HcsGetComputeSystemProperties",
        "HcsTerminateComputeSystem"
      })
  void failureOfAnyCallIsToldAndLeavesNothing(String function) {
    // A machine that could not be terminated never tells its end.
    HcsLimits limits =
        new HcsLimits(LONG, LONG, function.equals("HcsTerminateComputeSystem") ? SHORT : LONG);
    for (int i = 0; i < 2; i++) {
      try (ComputeSystem system = create(limits)) {
        if (i == 0) {
          StandIn.failResult(
              function,
              HResult.E_ACCESSDENIED,
              "{\"Error\":-2147024891,\"ErrorMessage\":\"no\",\"ErrorEvents\":"
                  + "[{\"Message\":\"disk C:\\\\a.vhd\\r\\n\",\"EventId\":7}],\"New\":{}}");
        } else {
          StandIn.failCall(function, HResult.HCS_E_ACCESS_DENIED);
        }
        HcsException e = assertThrows(HcsException.class, () -> call(system, function));
        assertTrue(e.getMessage().startsWith(function + " " + ID), e::getMessage);
        if (i == 0) {
          assertEquals(HResult.E_ACCESSDENIED, e.result());
          assertTrue(e.getMessage().endsWith("no disk C:\\a.vhd"), e::getMessage);
        } else {
          assertEquals(HResult.HCS_E_ACCESS_DENIED, e.result());
        }
        assertNotNull(e.remedy());
      }
      StandIn.reset();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HcsStartComputeSystem",
        "HcsPauseComputeSystem",
        "HcsResumeComputeSystem",
        "HcsSaveComputeSystem",
        "HcsModifyComputeSystem",
        "HcsGetComputeSystemProperties",
        "HcsTerminateComputeSystem"
      })
  void anyCallThatTakesTooLongIsToldAndItsOperationKeptUntilItHasEnded(String function) {
    ComputeSystem system = create(IMPATIENT);
    StandIn.hold(function);
    HcsException e = assertThrows(HcsException.class, () -> call(system, function));
    assertEquals(HResult.HCS_E_OPERATION_TIMEOUT, e.result());
    assertTrue(e.getMessage().startsWith(function + " " + ID), e::getMessage);
    assertNotNull(e.remedy());
    assertEquals(1, StandIn.standin_open_operations());
    StandIn.standin_release();
    system.close();
  }

  private static void call(ComputeSystem system, String function) {
    switch (function) {
      case "HcsStartComputeSystem" -> system.start();
      case "HcsPauseComputeSystem" -> system.pause("{}");
      case "HcsResumeComputeSystem" -> system.resume();
      case "HcsSaveComputeSystem" -> system.save("{}");
      case "HcsModifyComputeSystem" -> system.modify("{}");
      case "HcsGetComputeSystemProperties" -> system.properties(null);
      default -> system.terminate();
    }
  }

  @Test
  void documentOfSuccessAndOfFailureIsFreed() {
    try (ComputeSystem system = create(LIMITS)) {
      StandIn.answer("HcsStartComputeSystem", "{\"a\":1}");
      system.start();
      StandIn.failResult("HcsPauseComputeSystem", HResult.HCS_E_INVALID_STATE, "{}");
      assertThrows(HcsException.class, () -> system.pause("{}"));
    }
    assertEquals(2, StandIn.standin_strings_ever());
  }

  @Test
  void callThatTakesTooLongIsWaitedForWhenItIsClosed() {
    StandIn.hold("HcsStartComputeSystem");
    ComputeSystem system = create(IMPATIENT);
    HcsException e = assertThrows(HcsException.class, system::start);
    assertEquals(HResult.HCS_E_OPERATION_TIMEOUT, e.result());
    assertEquals(1, StandIn.standin_open_operations());
    Future<?> release = releaseWhenTerminated();
    system.close();
    await(release);
  }

  private Future<?> releaseWhenTerminated() {
    return threads.submit(
        () -> {
          StandIn.awaitCall("HcsTerminateComputeSystem");
          StandIn.standin_release();
        });
  }

  private static void await(Future<?> future) {
    try {
      future.get(30, TimeUnit.SECONDS);
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void creationThatTakesTooLongIsToldAndEndsAsSoonAsItCan() {
    StandIn.hold("HcsCreateComputeSystem");
    Future<?> release = releaseWhenTerminated();
    HcsException e = assertThrows(HcsException.class, () -> create(IMPATIENT));
    assertEquals(HResult.HCS_E_OPERATION_TIMEOUT, e.result());
    await(release);
  }

  @Test
  void handleStaysOpenUnderACallThatDoesNotEnd() {
    StandIn.hold("HcsStartComputeSystem");
    ComputeSystem system = create(new HcsLimits(SHORT, SHORT, SHORT));
    assertThrows(HcsException.class, system::start);
    system.close();
    assertEquals(1, StandIn.standin_open_handles());
    assertEquals(1, SystemEvents.receivers());
    // Once the service has finished, closing again finds that out.
    StandIn.standin_release();
    StandIn.standin_quiesce();
    system.close();
  }

  @Test
  void whatTheServiceHadNotFinishedIsReleasedWhenAnotherMachineIsMade() {
    StandIn.hold("HcsStartComputeSystem");
    ComputeSystem system = create(new HcsLimits(SHORT, SHORT, SHORT));
    assertThrows(HcsException.class, system::start);
    system.close();
    ComputeSystem.create("m2", "{}", events::add, LIMITS).close();
    assertEquals(1, StandIn.standin_open_handles(), "not finished yet");
    StandIn.standin_release();
    StandIn.standin_quiesce();
    ComputeSystem.create("m2", "{}", events::add, LIMITS).close();
    assertEquals(0, StandIn.standin_open_handles());
    system.close();
  }

  @Test
  void closingWaitsForTheCallsOfOthers() throws Exception {
    StandIn.hold("HcsGetComputeSystemProperties");
    ComputeSystem system = create(LIMITS);
    system.start();
    Future<String> properties = threads.submit(() -> system.properties(null));
    StandIn.awaitCall("HcsGetComputeSystemProperties");
    List<Future<Integer>> closing = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      closing.add(
          threads.submit(
              () -> {
                system.close();
                return StandIn.standin_open_handles();
              }));
    }
    await(releaseWhenTerminated());
    for (Future<Integer> close : closing) {
      assertEquals(0, close.get());
    }
    assertTrue(properties.get().contains("RuntimeId"));
  }

  @Test
  void interruptNeitherEndsClosingNorIsLost() {
    ComputeSystem system = create(LIMITS);
    system.start();
    Thread.currentThread().interrupt();
    system.close();
    assertTrue(Thread.interrupted());
    assertTrue(system.end().isPresent());
  }

  @Test
  void exitMayComeBeforeStartReturns() throws Exception {
    StandIn.hold("HcsStartComputeSystem");
    try (ComputeSystem system = create(LIMITS)) {
      Future<?> start = threads.submit(system::start);
      StandIn.awaitCall("HcsStartComputeSystem");
      StandIn.event(ID, HcsEvent.Type.SYSTEM_EXITED, "{\"ExitType\":\"UnexpectedExit\"}");
      assertTrue(system.awaitEnd(LONG));
      assertFalse(start.isDone());
      StandIn.standin_release();
      ExecutionException e = assertThrows(ExecutionException.class, start::get);
      assertEquals(HResult.HCS_E_SYSTEM_ALREADY_STOPPED, ((HcsException) e.getCause()).result());
    }
  }

  @Test
  void guestsLastWordsArrive() throws Exception {
    String log = "x".repeat(100_000) + "Kernel panic - not syncing";
    try (ComputeSystem system = create(LIMITS)) {
      system.start();
      StandIn.event(ID, HcsEvent.Type.CRASH_REPORT, "{\"CrashLog\":\"" + log + "\"}");
      HcsEvent event = nextEvent();
      // The stand-in has overwritten its own by now, or will.
      StandIn.standin_quiesce();
      assertEquals(HcsEvent.Type.CRASH_REPORT, event.type());
      assertEquals("{\"CrashLog\":\"" + log + "\"}", event.document());
      assertTrue(system.end().isEmpty());
    }
  }

  @Test
  void eventWithoutADocumentOrOfNoUseIsNoTrouble() throws Exception {
    try (ComputeSystem system = create(LIMITS)) {
      StandIn.event(ID, HcsEvent.Type.CRASH_INITIATED, null);
      assertEquals(new HcsEvent(HcsEvent.Type.CRASH_INITIATED, null), nextEvent());
      system.start();
    }
    assertNull(HcsEvent.Type.of(0x10000));
  }

  @Test
  void documentOfAnEventIsReadToALimit() throws Exception {
    try (ComputeSystem system = create(LIMITS)) {
      system.start();
      StandIn.event(ID, HcsEvent.Type.CRASH_REPORT, "x".repeat(WideString.MAX_LENGTH + 100));
      assertEquals(WideString.MAX_LENGTH, nextEvent().document().length());
    }
  }

  @Test
  void serviceThatIsGoneTakesItsMachines() throws Exception {
    try (ComputeSystem system = create(LIMITS)) {
      system.start();
      StandIn.event(ID, HcsEvent.Type.SERVICE_DISCONNECT, null);
      assertTrue(system.awaitEnd(LONG));
    }
    assertEquals(0, StandIn.calls("HcsTerminateComputeSystem"));
  }

  @Test
  void endThatIsNeverToldIsNotWaitedForForever() {
    StandIn.failCall("event", HResult.HCS_E_SERVICE_DISCONNECT);
    create(new HcsLimits(LONG, LONG, SHORT)).close();
  }

  @ParameterizedTest
  @EnumSource(
      names = {
        "HCS_E_SYSTEM_ALREADY_STOPPED",
        "HCS_E_SYSTEM_NOT_FOUND",
        "HCS_E_ACCESS_DENIED",
        "HCS_E_SERVICE_DISCONNECT"
      })
  void closingDoesNotWaitForWhatCannotEnd(HResult answer) {
    // The end would be waited for for longer than this test may take.
    ComputeSystem system = create(new HcsLimits(LONG, LONG, Duration.ofMinutes(10)));
    StandIn.failResult("HcsTerminateComputeSystem", answer, null);
    system.close();
  }

  @Test
  void listenerIsNotCollectedAndMayThrow() throws Exception {
    Consumer<HcsEvent> listener =
        event -> {
          events.add(event);
          throw new IllegalStateException("thrown by a listener, as the test wants");
        };
    try (ComputeSystem system = ComputeSystem.create(ID, "{}", listener, LIMITS)) {
      listener = null;
      for (int i = 0; i < 3; i++) {
        System.gc();
        StandIn.event(ID, HcsEvent.Type.CRASH_INITIATED, null);
        nextEvent();
      }
      system.start();
    }
  }

  @Test
  void whoIsToldOfAnEventCannotCloseIn() throws Exception {
    CompletableFuture<ComputeSystem> created = new CompletableFuture<>();
    CompletableFuture<Throwable> thrown = new CompletableFuture<>();
    Consumer<HcsEvent> listener =
        event -> {
          try {
            created.join().close();
            thrown.complete(new AssertionError("closed"));
          } catch (IllegalStateException e) {
            thrown.complete(e);
          }
        };
    try (ComputeSystem system = ComputeSystem.create(ID, "{}", listener, LIMITS)) {
      created.complete(system);
      system.start();
      StandIn.event(ID, HcsEvent.Type.CRASH_INITIATED, null);
      assertEquals(IllegalStateException.class, thrown.join().getClass());
    }
  }

  @Test
  void closingWaitsForTheEventThatIsBeingTold() throws Exception {
    CompletableFuture<Void> inside = new CompletableFuture<>();
    CompletableFuture<Void> go = new CompletableFuture<>();
    Consumer<HcsEvent> listener =
        event -> {
          inside.complete(null);
          go.join();
        };
    ComputeSystem system = ComputeSystem.create(ID, "{}", listener, LIMITS);
    StandIn.event(ID, HcsEvent.Type.SYSTEM_EXITED, null);
    inside.join();
    Future<?> close = threads.submit(system::close);
    assertThrows(TimeoutException.class, () -> close.get(100, TimeUnit.MILLISECONDS));
    go.complete(null);
    await(close);
  }

  @Test
  void manyMachinesAtOnce() {
    List<Future<?>> all = new ArrayList<>();
    for (int i = 0; i < 64; i++) {
      String id = "m" + i;
      all.add(
          threads.submit(
              () -> {
                try (ComputeSystem system = ComputeSystem.create(id, "{}", event -> {}, LIMITS)) {
                  system.start();
                  system.properties(null);
                }
              }));
    }
    all.forEach(ComputeSystemTest::await);
  }
}
