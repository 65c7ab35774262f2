// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Driver and device on two threads, each sleeping whenever it has nothing to do. A notification
 * that is lost once makes both sleep for good, which is what the limit is for: it is no measure.
 */
class QueueConcurrencyTest {
  private static final int BUFFERS = 200_000;
  private static final int SIZE = 2;

  /** Returns each buffer at once. */
  private static final class Sink extends VirtioDevice {
    private final DescriptorChain chain = new DescriptorChain(memory, SIZE);
    private final Random random = new Random(1);

    Sink(DeviceResources resources) {
      super(resources, "sink", 99, 0, new byte[0], SIZE);
    }

    @Override
    protected void process(int index) {
      synchronized (lock) {
        VirtQueue queue = queue(index);
        if (queue == null) {
          return;
        }
        do {
          queue.suppressNotifications();
          linger(random, () -> queue.waiting() > 0);
          while (queue.pop(chain)) {
            queue.push(chain, 1);
            interruptIfNeeded(queue);
          }
          linger(random, () -> queue.waiting() > 0);
        } while (queue.requestNotifications());
      }
    }
  }

  /** Looks a few times before going to sleep, so that the two meet at the edge of it. */
  private static void linger(Random random, BooleanSupplier done) {
    for (int i = random.nextInt(2000); i > 0 && !done.getAsBoolean(); i--) {
      Thread.onSpinWait();
    }
  }

  @Test
  @Timeout(value = 5, unit = TimeUnit.MINUTES)
  void neitherSideSleepsThroughTheOthersWork() throws Exception {
    LoopDeviceResources resources = new LoopDeviceResources(1 << 20);
    Sink device = new Sink(resources);
    DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
    driver.negotiate(DriverFixture.VERSION_1 | DriverFixture.EVENT_IDX);
    DriverQueue queue = driver.configure(0, SIZE);
    driver.driverOk();
    Segment segment = new Segment(0x100, 1, true);

    Random random = new Random(2);
    int rings = 0;
    int sleeps = 0;
    int returned = 0;
    for (int offered = 0; returned < BUFFERS; ) {
      while (offered < BUFFERS && queue.freeDescriptors() > 0) {
        queue.offer(segment);
        offered++;
        rings += queue.kick() ? 1 : 0;
      }
      while (queue.untaken() == 0) {
        linger(random, () -> queue.untaken() > 0);
        queue.requestInterrupt();
        if (queue.untaken() == 0) {
          sleeps++;
          resources.awaitInterrupt();
        }
      }
      while (queue.take().isPresent()) {
        returned++;
      }
    }

    resources.closeLoop();
    device.close();
    resources.close();
    assertEquals(List.of(), resources.failures());
    assertEquals(BUFFERS, returned);
    assertTrue(rings > 0 && sleeps > 0, "neither ever slept: " + rings + ", " + sleeps);
  }

  /** Without eventfds, as a vCPU's write to QueueNotify that KVM does not take. */
  @Test
  @Timeout(value = 5, unit = TimeUnit.MINUTES)
  void processesAQueueAfterEachNotificationHoweverTheyMeet() throws Exception {
    LoopDeviceResources resources = new LoopDeviceResources(1 << 20);
    Semaphore processed = new Semaphore(0);
    VirtioDevice device =
        new VirtioDevice(resources, "counter", 99, 0, new byte[0], SIZE) {
          @Override
          protected void process(int index) {
            processed.release();
          }
        };
    MmioTransport transport = new MmioTransport(device);
    for (int i = 0; i < BUFFERS; i++) {
      transport.write(DriverFixture.QUEUE_NOTIFY, 4, 0);
      processed.acquire();
    }
    device.close();
    resources.close();
    assertEquals(List.of(), resources.failures());
    assertEquals(0, processed.availablePermits());
  }
}
