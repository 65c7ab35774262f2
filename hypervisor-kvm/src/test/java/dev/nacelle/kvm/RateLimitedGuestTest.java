// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static dev.nacelle.kvm.DriverProgram.AVAILABLE;
import static dev.nacelle.kvm.DriverProgram.DATA;
import static dev.nacelle.kvm.DriverProgram.USED;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.RateLimits;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.InterruptLine;
import dev.nacelle.kvm.device.Timer;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.kvm.sys.Pollable;
import dev.nacelle.spi.VmSpec;
import dev.nacelle.spi.VmSpec.Disk;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

/** A guest on this host's KVM gets what its limit gives, counted, by a clock of the test's. */
@Timeout(60)
class RateLimitedGuestTest {
  private static final int BUFFERS = 8;
  private static final int BYTES = 1000;
  private static final int NEXT = 1;
  private static final int WRITE = 2;

  @TempDir Path directory;
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
    public void watch(Pollable source, Runnable handler) {
      machine.watch(source, handler);
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
   * Runs a program with a device whose time is the test's.
   *
   * @param served how many buffers have come back at first, and after each second
   */
  private void assertServed(DriverProgram program, DeviceFactory device, int... served)
      throws Exception {
    ControlledTime[] time = new ControlledTime[1];
    KvmVirtualMachine machine =
        machines.start(
            program,
            resources -> {
              time[0] = new ControlledTime(resources);
              return device.create(time[0]);
            });
    GuestMemory memory = time[0].memory();
    for (int count : served) {
      time[0].awaitTimer();
      // What is admitted may still be under way; what is not stays refused until time goes by.
      while (memory.getShortAcquire(USED + 2) < count) {
        Thread.onSpinWait();
      }
      assertEquals(count, memory.getShort(USED + 2), "buffers");
      time[0].advance(Duration.ofSeconds(1));
    }
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
  }

  private void assertServed(RateLimit limit, int... served) throws Exception {
    assertServed(wantingAll(), DeviceFactory.entropy(limit), served);
  }

  /** Offers reads of a sector and of 7 from a disk, and powers off when all have come back. */
  private static DriverProgram reading() {
    DriverProgram program = new DriverProgram(1).live(0, 0);
    for (int i = 0; i < 4; i++) {
      int header = DATA + 0x2000 * i;
      program
          .descriptor(2 * i, header, 16, NEXT, 2 * i + 1)
          .descriptor(2 * i + 1, header + 16, (i == 3 ? 7 : 1) * 512 + 1, WRITE, 0);
    }
    return program
        .store(AVAILABLE + 4, 2 << 16)
        .store(AVAILABLE + 8, 4 | 6 << 16)
        .available(0, 4)
        .thenAwait(USED + 2, 4)
        .thenPowerOff();
  }

  private void assertRead(RateLimit limit, int... served) throws Exception {
    Path image = Files.write(directory.resolve("image"), new byte[1 << 16]);
    assertServed(reading(), DeviceFactory.disk(Disk.of("disk", image, true), limit), served);
  }

  @Test
  void readsAsOftenAsItsLimitLets() throws Exception {
    assertRead(RateLimit.operations(1), 1, 2, 3);
  }

  @Test
  void readsAsManyBytesAsItsLimitLets() throws Exception {
    // The last, which is larger than the burst, waits until that is full again.
    assertRead(RateLimit.bytes(DataSize.bytes(1024)), 2, 3);
  }

  @Test
  void hasTheLimitsThatItsSpecificationSays() throws Exception {
    Path image = Files.write(directory.resolve("image"), new byte[1 << 16]);
    RateLimits limits =
        RateLimits.NONE
            .withEntropy(RateLimit.operations(2, 3))
            .withDisks(RateLimit.operations(1))
            .withSocket(RateLimit.operations(1000));
    VmSpec spec =
        VmSpec.builder("test", VmSpec.Bare.of(image, ""), DataSize.mebibytes(4))
            .disks(List.of(Disk.of("disk", image, true)))
            .rateLimits(limits)
            .build();
    MachineSpec machine = KvmHypervisor.machine(spec);
    assertEquals(2, machine.devices().size());
    assertServed(wantingAll(), machine.devices().get(0), 3, 5, 7);
    assertServed(reading(), machine.devices().get(1), 1, 2, 3);
    // The socket's are the machine's own.
    assertEquals(limits, machine.rateLimits());
  }

  @Test
  void getsTheOperationsOfItsLimit() throws Exception {
    assertServed(RateLimit.operations(2, 3), 3, 5, 7);
  }

  @Test
  void getsTheBytesOfItsLimit() throws Exception {
    assertServed(
        RateLimit.bytes(DataSize.bytes(2 * BYTES), DataSize.bytes(5 * BYTES / 2)), 2, 4, 6);
  }

  @Test
  void getsWhatBothLimitsGive() throws Exception {
    assertServed(
        RateLimit.bytes(DataSize.bytes(10 * BYTES), DataSize.bytes(10 * BYTES)).andOperations(3, 1),
        1,
        2,
        3,
        4,
        5,
        6,
        7);
  }
}
