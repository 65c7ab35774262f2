// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.LoopDeviceResources;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A system call for a request that does not return: a vCPU waits for that only so long. */
@Timeout(60)
class HangingDiskTest {
  private static final byte OK = 0;
  private static final byte UNTOUCHED = 77;

  @TempDir Path directory;

  @Test
  void noVcpuWaitsForEverForASystemCallThatHangs() throws Exception {
    HangingDisk disk = new HangingDisk(Files.write(directory.resolve("image"), new byte[4096]));
    try (LoopDeviceResources resources = new LoopDeviceResources(1 << 20)) {
      BlockDevice device = disk.device(resources, 20);
      DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
      driver.negotiate(driver.offeredFeatures());
      DriverQueue queue = driver.configure(0, 8);
      driver.driverOk();
      Segment status = offerRead(driver, queue);
      disk.awaitHung();

      String hangs = "virtio-blk disk: the host's disk has not answered for 20 ms";
      driver.write(DriverFixture.QUEUE_SEL, 0);
      for (int register :
          new int[] {DriverFixture.QUEUE_READY, DriverFixture.STATUS, DriverFixture.STATUS}) {
        IllegalStateException e =
            assertThrows(IllegalStateException.class, () -> driver.write(register, 0));
        assertEquals(hangs, e.getMessage());
      }
      assertEquals(UNTOUCHED, driver.memory().getByte(status.address()));

      disk.answer();
      device.close();
      assertEquals(List.of(), resources.failures());
    }
  }

  @Test
  void whatAnswersInTimeIsWaitedFor() throws Exception {
    HangingDisk disk = new HangingDisk(Files.write(directory.resolve("image"), new byte[4096]));
    try (LoopDeviceResources resources = new LoopDeviceResources(1 << 20)) {
      BlockDevice device = disk.device(resources, 50_000);
      DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
      driver.negotiate(driver.offeredFeatures());
      driver.configure(0, 8);
      driver.driverOk();
      disk.awaitHung();
      Thread later = new Thread(disk::answer);
      later.start();
      driver.negotiate(driver.offeredFeatures());
      later.join();
      DriverQueue queue = driver.configure(0, 8);
      driver.driverOk();
      Segment status = offerRead(driver, queue);
      while (driver.memory().getByte(status.address()) == UNTOUCHED) {
        resources.awaitInterrupt();
      }
      assertEquals(OK, driver.memory().getByte(status.address()));
      device.close();
      assertEquals(List.of(), resources.failures());
    }
  }

  /** A read of a sector; returns where its status comes. */
  private static Segment offerRead(DriverFixture driver, DriverQueue queue) {
    Segment status = new Segment(driver.allocate(new byte[] {UNTOUCHED}), 1, true);
    queue.offer(queue.readable(new byte[16]), queue.writable(512), status);
    queue.kick();
    return status;
  }
}
