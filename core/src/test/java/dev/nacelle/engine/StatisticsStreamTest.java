// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.Sandbox;
import dev.nacelle.Sandbox.StatisticsStream;
import dev.nacelle.SandboxEndedException;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.internal.ListenerFailures;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Statistics as a stream: of the host, and of the guest as far as it is the same. */
@ExtendWith(NettyLeaks.class)
@Timeout(60)
class StatisticsStreamTest {
  private static final Duration INTERVAL = Duration.ofMillis(100);

  private enum Kind {
    HOST,
    GUEST;

    StatisticsStream stream(Sandbox sandbox, Duration interval, Runnable listener) {
      return this == HOST
          ? sandbox.streamStatistics(interval, reading -> listener.run())
          : sandbox.streamGuestStatistics(interval, reading -> listener.run());
    }
  }

  @ParameterizedTest
  @EnumSource
  void statisticsStreamUntilTheyAreClosedOrTheSandboxIs(Kind kind) throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      for (Duration wrong : List.of(Duration.ofMillis(99), Duration.ofHours(2))) {
        assertThrows(IllegalArgumentException.class, () -> kind.stream(sandbox, wrong, () -> {}));
      }
      Semaphore read = new Semaphore(0);
      StatisticsStream stream = kind.stream(sandbox, INTERVAL, read::release);
      read.acquire(3);
      stream.close();
      stream.close();
      List<StatisticsStream> open = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        open.add(kind.stream(sandbox, INTERVAL, () -> {}));
      }
      assertThrows(IllegalStateException.class, () -> kind.stream(sandbox, INTERVAL, () -> {}));
      open.get(0).close();
      Semaphore last = new Semaphore(0);
      StatisticsStream lasting = kind.stream(sandbox, INTERVAL, last::release);
      last.acquire();
      sandbox.close();
      assertThrows(SandboxEndedException.class, sandbox::guestStatistics);
      assertThrows(SandboxEndedException.class, () -> kind.stream(sandbox, INTERVAL, () -> {}));
      // A reading that was under way may come yet, and no other.
      last.drainPermits();
      assertFalse(last.tryAcquire(2, 6 * INTERVAL.toMillis(), TimeUnit.MILLISECONDS));
      lasting.close();
      open.get(1).close();
    }
  }

  @Test
  void itGoesOnWhileTheMachineIsPaused() throws Exception {
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      Semaphore read = new Semaphore(0);
      try (StatisticsStream stream = sandbox.streamStatistics(INTERVAL, reading -> read.release());
          var pause = sandbox.pause()) {
        read.drainPermits();
        assertTrue(read.tryAcquire(3, 30, TimeUnit.SECONDS));
      }
    }
  }

  @Test
  void aListenerMayThrow() throws Exception {
    try (ListenerFailures failures = new ListenerFailures();
        FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      Semaphore read = new Semaphore(0);
      try (StatisticsStream stream =
          sandbox.streamStatistics(
              INTERVAL,
              reading -> {
                read.release();
                throw new IllegalStateException("thrown by a listener");
              })) {
        read.acquire(3);
      }
      assertEquals(List.of("thrown by a listener"), failures.messages());
    }
  }
}
