// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static dev.nacelle.kvm.DriverProgram.AVAILABLE;
import static dev.nacelle.kvm.DriverProgram.DATA;
import static dev.nacelle.kvm.DriverProgram.USED;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.Timer;
import dev.nacelle.kvm.device.virtio.EntropyDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.spi.RateLimit;
import dev.nacelle.spi.VmExit.Reason;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** A guest on this host's KVM gets what its limit gives, counted, by a clock of the test's. */
@Timeout(60)
class RateLimitedGuestTest {
  private static final int BUFFERS = 8;
  private static final int BYTES = 1000;
  private static final int WRITE = 2;

  @RegisterExtension final TestMachines machines = new TestMachines();

  /** The machine's resources, with time that goes by as the test says. */
  private static final class ControlledTime implements DeviceResources {
    private final DeviceResources machine;
    private final Semaphore timersSet = new Semaphore(0);
    private final List<ControlledTimer> timers = new ArrayList<>();
    private final AtomicLong now = new AtomicLong();

    ControlledTime(DeviceResources machine) {
      this.machine = machine;
    }

    private final class ControlledTimer implements Timer {
      private final Runnable onTime;
      private boolean set;
      private long time;

      ControlledTimer(Runnable onTime) {
        this.onTime = onTime;
      }

      /** On the event loop. */
      @Override
      public void set(long nanoTime) {
        set = true;
        time = nanoTime;
        timersSet.release();
      }

      void callIfDue() {
        if (set && time <= now.get()) {
          set = false;
          onTime.run();
        }
      }
    }

    /** Waits until the device has nothing to give and waits itself. */
    void awaitTimer() throws InterruptedException {
      timersSet.acquire();
    }

    void advance(Duration duration) {
      now.addAndGet(duration.toNanos());
      machine.execute(() -> timers.forEach(ControlledTimer::callIfDue));
    }

    @Override
    public long nanoTime() {
      return now.get();
    }

    @Override
    public Timer timer(Runnable onTime) {
      ControlledTimer timer = new ControlledTimer(onTime);
      timers.add(timer);
      return timer;
    }

    @Override
    public GuestMemory memory() {
      return machine.memory();
    }

    @Override
    public InterruptLine interrupt() {
      return machine.interrupt();
    }

    @Override
    public void doorbell(long offset, int value, Runnable onWrite) {
      machine.doorbell(offset, value, onWrite);
    }

    @Override
    public boolean execute(Runnable task) {
      return machine.execute(task);
    }
  }

  /** Offers all its buffers at once, and powers off when the last has come back. */
  private static DriverProgram wantingAll() {
    DriverProgram program = new DriverProgram(1).live(0, 0);
    for (int i = 0; i < BUFFERS; i++) {
      program.descriptor(i, DATA + 4096 * i, BYTES, WRITE, 0);
    }
    for (int i = 0; i < BUFFERS; i += 2) {
      program.store(AVAILABLE + 4 + 2 * i, i | i + 1 << 16);
    }
    return program.available(0, BUFFERS).thenAwait(USED + 2, BUFFERS).thenPowerOff();
  }

  /**
   * @param served how many buffers have come back at first, and after each second
   */
  private void assertServed(RateLimit limit, int... served) throws Exception {
    ControlledTime[] time = new ControlledTime[1];
    KvmVirtualMachine machine =
        machines.start(
            wantingAll(),
            resources -> {
              time[0] = new ControlledTime(resources);
              return DeviceFactory.overMmio(new EntropyDevice(time[0], limit));
            });
    for (int count : served) {
      time[0].awaitTimer();
      assertEquals(count, time[0].memory().getShort(USED + 2), "buffers");
      time[0].advance(Duration.ofSeconds(1));
    }
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
  }

  @Test
  void getsTheOperationsOfItsLimit() throws Exception {
    assertServed(RateLimit.operations(2, 3), 3, 5, 7);
  }

  @Test
  void getsTheBytesOfItsLimit() throws Exception {
    assertServed(RateLimit.bytes(2 * BYTES, 5 * BYTES / 2), 2, 4, 6);
  }

  @Test
  void getsWhatBothLimitsGive() throws Exception {
    assertServed(RateLimit.bytes(10 * BYTES, 10 * BYTES).andOperations(3, 1), 1, 2, 3, 4, 5, 6, 7);
  }
}
