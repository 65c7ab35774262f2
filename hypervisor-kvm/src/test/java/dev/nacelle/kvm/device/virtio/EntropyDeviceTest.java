// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.RateLimit;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import java.time.Duration;
import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class EntropyDeviceTest {
  private final FakeDeviceResources resources = new FakeDeviceResources(1 << 20);
  private EntropyDevice device = new EntropyDevice(resources, null);
  private DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
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

  private Map<String, Long> ignored() {
    Map<String, Long> counts = new HashMap<>();
    device.addIgnored(counts);
    return counts;
  }

  @Test
  void passesOverWhatIsReadable() {
    Segment readable = queue.readable((byte) 1);
    Segment writable = queue.writable(100);
    queue.offer(readable, writable);
    queue.offer(readable);
    queue.kick();
    assertEquals(100, queue.take().orElseThrow().written());
    assertEquals(0, queue.take().orElseThrow().written());
    assertArrayEquals(new byte[] {1}, driver.bytes(readable.address(), 1));
    assertTrue(isRandom(writable));
    assertEquals(Map.of("virtio-rng: a buffer of the other direction", 2L), ignored());
  }

  @Test
  void leavesMemoryAloneAfterAFault() {
    queue.putDescriptor(63, -16, 32, DriverQueue.WRITE, 0);
    queue.publish(63);
    assertThrows(GuestFault.class, queue::kick);
    Segment segment = queue.writable(100);
    queue.offer(segment);
    driver.ring(0);
    assertArrayEquals(new byte[100], driver.bytes(segment.address(), 100));
  }

  @Test
  void hasOneTaskWaitingHoweverOftenAGuestRings() {
    Segment segment = queue.writable(8);
    for (int turn = 0; turn < 2_000; turn++) {
      while (queue.freeDescriptors() > 0) {
        queue.offer(segment);
      }
      resources.ring(DriverFixture.QUEUE_NOTIFY, 0);
      driver.write(DriverFixture.QUEUE_NOTIFY, 0);
      while (queue.take().isPresent()) {
        // as many as one turn serves
      }
      assertEquals(1, resources.waitingTasks());
    }
  }

  // ---- limits

  private void startWithLimit(RateLimit limit) {
    device.close();
    device = new EntropyDevice(resources, limit);
    driver = new DriverFixture(resources, new MmioTransport(device));
    start();
  }

  private int served() {
    int count = 0;
    while (queue.take().isPresent()) {
      count++;
    }
    return count;
  }

  private void offer(int count, int bytes) {
    for (int i = 0; i < count; i++) {
      queue.offer(queue.writable(bytes));
    }
    queue.kick();
  }

  @Test
  void servesAsManyBuffersAsTheLimitHasOperationsFor() {
    startWithLimit(RateLimit.operations(2, 3));
    offer(10, 8);
    assertEquals(3, served());
    resources.advance(Duration.ofMillis(499));
    assertEquals(0, served());
    resources.advance(Duration.ofMillis(1));
    assertEquals(1, served());
    resources.advance(Duration.ofSeconds(2));
    assertEquals(4, served());
    resources.advance(Duration.ofSeconds(60));
    assertEquals(2, served());
    assertEquals(0, resources.setTimers(), "nothing waits");
  }

  @Test
  void servesAsManyBytesAsTheLimitHas() {
    startWithLimit(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(2500)));
    offer(10, 1000);
    assertEquals(2, served());
    resources.advance(Duration.ofMillis(500));
    assertEquals(1, served());
    resources.advance(Duration.ofSeconds(3));
    assertEquals(3, served());
  }

  @Test
  void countsWhatItGivesAndNotWhatThereIsRoomFor() {
    startWithLimit(
        RateLimit.bytes(DataSize.bytes(1), DataSize.bytes(2 * EntropyDevice.MAXIMUM_BYTES)));
    offer(3, 2 * EntropyDevice.MAXIMUM_BYTES);
    assertEquals(2, served());
  }

  @Test
  void givesABufferThatIsLargerThanTheBurstWhenThatIsFull() {
    startWithLimit(RateLimit.bytes(DataSize.bytes(1000), DataSize.bytes(1000)));
    offer(2, 3000);
    assertEquals(1, served());
    resources.advance(Duration.ofMillis(2999));
    assertEquals(0, served());
    resources.advance(Duration.ofMillis(1));
    assertEquals(1, served(), "paid for, and full again");
  }

  @Test
  void doesNothingForAGuestThatRingsWhileItWaits() {
    startWithLimit(RateLimit.operations(1));
    offer(3, 8);
    assertEquals(1, served());
    resources.takeInterrupts();
    for (int i = 0; i < 100; i++) {
      driver.ring(0);
    }
    assertEquals(0, served());
    assertEquals(0, resources.takeInterrupts());
    assertEquals(0, resources.waitingTasks());
    assertEquals(1, resources.setTimers());
  }

  @Test
  void givesNoNewTokensForAReset() {
    startWithLimit(RateLimit.operations(1, 3));
    offer(4, 8);
    assertEquals(3, served());
    start();
    offer(4, 8);
    assertEquals(0, served());
    resources.advance(Duration.ofSeconds(1));
    assertEquals(1, served());
  }

  @Test
  void doesNothingForATimerThatComesAfterItsEnd() {
    startWithLimit(RateLimit.operations(1));
    offer(3, 8);
    assertEquals(1, served());
    device.close();
    resources.advance(Duration.ofSeconds(10));
    assertEquals(0, served());
  }
}
