// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.Allocation;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.LoopDeviceResources;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(120)
class BlockAllocationTest {
  private static final int WARM_UP = 12_000;
  private static final int REQUESTS = 12_000;
  private static final int BATCH = 6;

  @TempDir Path directory;

  @ParameterizedTest
  @EnumSource(TestEngine.class)
  void servesRequestsWithoutAllocating(TestEngine engine) throws Exception {
    Path image = Files.write(directory.resolve("image"), new byte[1 << 20]);
    try (LoopDeviceResources resources = new LoopDeviceResources(4 << 20)) {
      BlockDevice device = new BlockDevice(resources, engine.open(image, false), false, "disk");
      DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
      driver.negotiate(driver.offeredFeatures());
      DriverQueue queue = driver.configure(0, 256);
      driver.driverOk();

      List<Integer> heads = new ArrayList<>();
      for (int type : new int[] {0, 1, 4, 8, 13, 99}) {
        byte[] header = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putInt(type).array();
        byte[] range = ByteBuffer.allocate(16).putInt(8, 8 << 24).array();
        Segment data =
            switch (type) {
              case 0, 8 -> queue.writable(4096);
              case 1 -> queue.readable(new byte[4096]);
              default -> queue.readable(range);
            };
        heads.add(queue.offer(queue.readable(header), data, queue.writable(1)));
      }
      queue.kick();
      await(queue, heads.size());
      serve(resources, queue, heads, WARM_UP);
      long before = allocated(resources);
      serve(resources, queue, heads, REQUESTS);
      long allocated = allocated(resources) - before;
      // The smallest object has 16 bytes; the two questions have cost some.
      assertTrue(allocated < REQUESTS, () -> allocated + " bytes allocated");
      assertEquals(List.of(), resources.failures());
      device.close();
    }
  }

  /** Offers the same buffers again and again. */
  private static void serve(
      LoopDeviceResources resources, DriverQueue queue, List<Integer> heads, int count) {
    for (int i = 0; i < count; i += BATCH) {
      int expected = queue.untaken() + BATCH;
      for (int j = 0; j < BATCH; j++) {
        queue.publish(heads.get(j));
      }
      resources.ring(0);
      await(queue, expected);
    }
  }

  private static void await(DriverQueue queue, int expected) {
    while (queue.untaken() != (expected & 0xffff)) {
      Thread.onSpinWait();
    }
  }

  /** By the device's thread. */
  private static long allocated(LoopDeviceResources resources) throws Exception {
    CompletableFuture<Long> answer = new CompletableFuture<>();
    assertTrue(resources.execute(() -> answer.complete(Allocation.ofThisThread())));
    return answer.get();
  }
}
