// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import java.util.BitSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class EntropyDeviceTest {
  private final FakeDeviceResources resources = new FakeDeviceResources(1 << 20);
  private final EntropyDevice device = new EntropyDevice(resources);
  private final DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
  private DriverQueue queue;

  @BeforeEach
  void start() {
    assertEquals(4, driver.read(0x008));
    driver.negotiate(DriverFixture.VERSION_1);
    queue = driver.configure(0, 64);
    driver.driverOk();
  }

  @AfterEach
  void close() {
    device.close();
    resources.close();
  }

  @Test
  void fillsABufferWithBytesOfAllValues() {
    Segment segment = queue.writable(16_384);
    queue.offer(segment);
    queue.kick();
    assertEquals(16_384, queue.take().orElseThrow().written());
    BitSet values = new BitSet();
    for (byte b : driver.bytes(segment.address(), segment.length())) {
      values.set(Byte.toUnsignedInt(b));
    }
    // The chance that one of 256 values is missing in 16,384 bytes is below 10^-25.
    assertEquals(256, values.cardinality());
    assertEquals(1, resources.takeInterrupts());
  }

  @Test
  void fillsEachSegmentAndNothingBehindIt() {
    Segment first = queue.writable(100);
    Segment gap = queue.writable(100);
    Segment second = queue.writable(100);
    queue.offer(first, second);
    queue.kick();
    assertEquals(200, queue.take().orElseThrow().written());
    assertArrayEquals(new byte[100], driver.bytes(gap.address(), 100));
    assertTrue(isRandom(first));
    assertTrue(isRandom(second));
  }

  private boolean isRandom(Segment segment) {
    BitSet values = new BitSet();
    for (byte b : driver.bytes(segment.address(), segment.length())) {
      values.set(Byte.toUnsignedInt(b));
    }
    return values.cardinality() > 50;
  }

  @Test
  void givesNoMoreThanItsLimitForOneBuffer() {
    Segment segment = queue.writable(EntropyDevice.MAXIMUM_BYTES + 4096);
    queue.offer(segment);
    queue.kick();
    assertEquals(EntropyDevice.MAXIMUM_BYTES, queue.take().orElseThrow().written());
    assertArrayEquals(
        new byte[4096], driver.bytes(segment.address() + EntropyDevice.MAXIMUM_BYTES, 4096));
  }

  @Test
  void servesAFullQueueInSeveralTurns() {
    Segment segment = queue.writable(8);
    for (int i = 0; i < 64; i++) {
      queue.offer(segment);
    }
    queue.kick();
    for (int i = 0; i < 64; i++) {
      assertEquals(8, queue.take().orElseThrow().written());
    }
  }

  @Test
  void faultsOnAReadableBuffer() {
    queue.offer(queue.readable((byte) 1));
    GuestFault fault = assertThrows(GuestFault.class, queue::kick);
    assertEquals(
        "virtio-rng queue 0: a device-readable buffer, which section 5.4.6 forbids",
        fault.getMessage());
  }

  @Test
  void leavesMemoryAloneAfterAFault() {
    queue.offer(queue.readable((byte) 1));
    assertThrows(GuestFault.class, queue::kick);
    Segment segment = queue.writable(100);
    queue.offer(segment);
    driver.ring(0);
    assertArrayEquals(new byte[100], driver.bytes(segment.address(), 100));
  }
}
