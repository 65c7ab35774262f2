// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxExit;
import dev.nacelle.SandboxListener;
import dev.nacelle.Stage;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.internal.ListenerFailures;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

@Timeout(120)
@ExtendWith(NettyLeaks.class)
class SandboxEventsTest {
  @Test
  void sandboxIsToldOfFromItsFirstStageToItsEndUnderOneId() {
    List<SandboxEvent> events = new CopyOnWriteArrayList<>();
    String id;
    try (FakeNacelle fake = new FakeNacelle(Fault.NONE, new FakeSources(), events::add)) {
      Sandbox sandbox = fake.nacelle.start(FakeNacelle.spec().name("box").build());
      id = sandbox.id();
      sandbox.close();
    }
    for (SandboxEvent event : events) {
      assertEquals(id, event.sandboxId());
      assertEquals("box", event.sandboxName());
    }
    for (Stage stage :
        List.of(
            Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS, Stage.CREATE, Stage.BOOT, Stage.PREPARE)) {
      int began = -1;
      int ended = -1;
      for (int i = 0; i < events.size(); i++) {
        if (events.get(i) instanceof SandboxEvent.StageStarted e && e.stage() == stage) {
          began = i;
        } else if (events.get(i) instanceof SandboxEvent.StageEnded e && e.stage() == stage) {
          ended = i;
        }
      }
      assertTrue(0 <= began && began < ended, events::toString);
    }
    assertEquals(14, events.size(), events::toString);
    assertInstanceOf(SandboxEvent.Started.class, events.get(12));
    SandboxEvent.Ended end = assertInstanceOf(SandboxEvent.Ended.class, events.get(13));
    assertEquals(SandboxExit.Reason.CLOSED, end.exit().reason());
  }

  @Test
  void startThatFailsIsToldOfLast() {
    List<SandboxEvent> events = new CopyOnWriteArrayList<>();
    HypervisorException e;
    try (FakeNacelle fake = new FakeNacelle(Fault.CREATE_FAILS, new FakeSources(), events::add)) {
      e = assertThrows(HypervisorException.class, fake::start);
    }
    var failed = assertInstanceOf(SandboxEvent.StartFailed.class, events.get(events.size() - 1));
    assertSame(e, failed.failure());
  }

  @Test
  void sandboxesOfOneNameHaveDifferentIds() {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox one = fake.nacelle.start(FakeNacelle.spec().name("box").build());
        Sandbox two = fake.nacelle.start(FakeNacelle.spec().name("box").build())) {
      assertNotEquals(one.id(), two.id());
    }
  }

  @Test
  void listenersThatThrowAreLoggedOnceEachAndKeepNobodyFromHearing() {
    List<SandboxEvent> heard = new CopyOnWriteArrayList<>();
    SandboxListener failing =
        event -> {
          throw new AssertionError("thrown by a listener");
        };
    try (ListenerFailures failures = new ListenerFailures()) {
      try (Nacelle nacelle =
          new EngineBuilder()
              .hypervisor(new FakeHypervisor(Map.of(), Fault.NONE))
              .sources(new FakeSources())
              .listener(failing)
              .listener(heard::add)
              .listener(failing)
              .build()) {
        nacelle.start(FakeNacelle.spec().build()).close();
        nacelle.start(FakeNacelle.spec().build()).close();
      }
      assertEquals(28, heard.size(), heard::toString);
      assertEquals(List.of("thrown by a listener", "thrown by a listener"), failures.messages());
    }
  }

  @Test
  void aSlowListenerHoldsUpNobodyAndHearsInOrder() throws Exception {
    CountDownLatch entered = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    List<Stage> heard = new ArrayList<>();
    SandboxListener slow =
        event -> {
          entered.countDown();
          try {
            goOn.await();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
          heard.add(((SandboxEvent.StageStarted) event).stage());
        };
    SandboxEvents events = new SandboxEvents("id", "box", List.of(new SandboxEvents.Guarded(slow)));
    Thread first = new Thread(() -> events.stageStarted(Stage.IMAGE));
    first.start();
    entered.await();
    events.stageStarted(Stage.KERNEL);
    events.stageStarted(Stage.INITRAMFS);
    assertEquals(List.of(), heard);
    goOn.countDown();
    first.join();
    assertEquals(List.of(Stage.IMAGE, Stage.KERNEL, Stage.INITRAMFS), heard);
  }
}
