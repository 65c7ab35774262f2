// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.CapacityException;
import dev.nacelle.CapacityException.Limit;
import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxEvent;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Unikernel;
import dev.nacelle.UnikernelSpec;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.fake.FakeHypervisor;
import dev.nacelle.fake.FakeHypervisor.Fault;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** What a runtime may have at a time. */
@Timeout(120)
@ExtendWith(NettyLeaks.class)
class CapacityTest {
  private final List<SandboxEvent> events = new CopyOnWriteArrayList<>();

  private EngineBuilder builder(Fault fault) {
    return new EngineBuilder()
        .hypervisor(new FakeHypervisor(Map.of(), fault))
        .sources(new FakeSources())
        .listener(events::add);
  }

  private static SandboxSpec spec(int mebibytes) {
    return FakeNacelle.spec().memory(DataSize.mebibytes(mebibytes)).build();
  }

  private static CapacityException refused(Nacelle nacelle, SandboxSpec spec) {
    CapacityException refusal = assertThrows(CapacityException.class, () -> nacelle.start(spec));
    ExecutionException later =
        assertThrows(ExecutionException.class, nacelle.startAsync(spec)::get);
    assertInstanceOf(CapacityException.class, later.getCause());
    assertTrue(refusal.isTransient());
    return refusal;
  }

  @Test
  void oneSandboxMoreThanTheLimitIsRefusedBeforeAnythingIsMade() {
    try (Nacelle nacelle = builder(Fault.NONE).maxSandboxes(2).build()) {
      Sandbox first = nacelle.start(spec(64));
      Sandbox second = nacelle.start(spec(64));
      int before = events.size();
      CapacityException refusal = refused(nacelle, spec(64));
      assertEquals(Limit.SANDBOXES, refusal.limit());
      assertTrue(refusal.getMessage().contains("2 run or start already"), refusal::getMessage);
      assertEquals(before, events.size());
      first.close();
      // There is room again as soon as closing has returned.
      nacelle.start(spec(64)).close();
      second.close();
    }
  }

  @Test
  void memoryIsCountedByWhatGuestsMayTake() {
    try (Nacelle nacelle = builder(Fault.NONE).maxGuestMemory(DataSize.mebibytes(256)).build()) {
      CapacityException alone = refused(nacelle, spec(257));
      assertEquals(Limit.GUEST_MEMORY, alone.limit());
      nacelle.start(spec(200));
      CapacityException refusal = refused(nacelle, spec(57));
      assertTrue(refusal.getMessage().contains("200MiB of 256MiB"), refusal::getMessage);
      nacelle.start(spec(56));
      refused(nacelle, spec(32));
    }
  }

  @Test
  void startsCountFromTheCallOnAndFailedOnesNoMore() throws Exception {
    try (Nacelle nacelle = builder(Fault.NEVER_DIALS).maxSandboxes(1).build()) {
      CompletableFuture<Sandbox> start = nacelle.startAsync(spec(64));
      refused(nacelle, spec(64));
      start.cancel(true);
      // It is given back when nothing is left of it.
      List<CompletableFuture<Sandbox>> again = new ArrayList<>();
      do {
        again.add(nacelle.startAsync(spec(64)));
      } while (again.get(again.size() - 1).isCompletedExceptionally());
    }
    try (Nacelle nacelle = builder(Fault.CREATE_FAILS).maxSandboxes(1).build()) {
      for (int i = 0; i < 3; i++) {
        assertThrows(HypervisorException.class, () -> nacelle.start(spec(64)));
      }
    }
  }

  @Test
  void unikernelsCountToo() {
    UnikernelSpec unikernel =
        UnikernelSpec.builder().image(Path.of("/fake/elf")).memory(DataSize.mebibytes(16)).build();
    try (Nacelle nacelle =
        builder(Fault.NEVER_DIALS).maxSandboxes(1).maxGuestMemory(DataSize.mebibytes(16)).build()) {
      Unikernel running = nacelle.startUnikernel(unikernel);
      assertThrows(CapacityException.class, () -> nacelle.startUnikernel(unikernel));
      running.close();
      nacelle.startUnikernel(unikernel).close();
    }
    try (Nacelle nacelle = builder(Fault.CREATE_FAILS).maxSandboxes(1).build()) {
      for (int i = 0; i < 3; i++) {
        assertThrows(HypervisorException.class, () -> nacelle.startUnikernel(unikernel));
      }
    }
  }

  @Test
  void limitsAreOfSomething() {
    assertThrows(IllegalArgumentException.class, () -> builder(Fault.NONE).maxSandboxes(0));
    DataSize none = DataSize.bytes(0);
    assertThrows(IllegalArgumentException.class, () -> builder(Fault.NONE).maxGuestMemory(none));
  }
}
