// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.DriverQueue.Used;
import dev.nacelle.kvm.memory.GuestMemory;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The queue under a driver, polite and hostile, on plain guest memory. */
class VirtQueueTest {
  private static final int SIZE = 8;
  private static final long RAM = 1 << 20;
  private static final int NEXT = DriverQueue.NEXT;
  private static final int WRITE = DriverQueue.WRITE;
  private static final int INDIRECT = DriverQueue.INDIRECT;

  private final FakeDeviceResources resources = new FakeDeviceResources(RAM);
  private final GuestMemory memory = resources.memory();
  private final TestDevice device = new TestDevice(resources, SIZE);
  private final DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
  private final DescriptorChain chain = new DescriptorChain(memory, SIZE);
  private DriverQueue ring;
  private VirtQueue queue;

  @BeforeEach
  void start() {
    start(DriverFixture.VERSION_1 | DriverFixture.EVENT_IDX | DriverFixture.INDIRECT_DESC);
  }

  private void start(long features) {
    driver.negotiate(features);
    ring = driver.configure(0, SIZE);
    driver.driverOk();
    queue = device.active(0);
  }

  @AfterEach
  void close() {
    device.close();
    resources.close();
  }

  @Test
  void takesBuffersInTheirOrderAndReturnsThem() {
    int first = ring.offer(ring.readable((byte) 1, (byte) 2), ring.writable(10));
    int second = ring.offer(ring.readable((byte) 3));

    assertTrue(queue.pop(chain));
    assertEquals(2, chain.readableBytes());
    assertEquals(10, chain.writableBytes());
    byte[] copy = new byte[2];
    chain.read(0, copy, 0, 2);
    assertArrayEquals(new byte[] {1, 2}, copy);
    queue.push(chain, 7);
    assertTrue(queue.pop(chain));
    queue.push(chain, 0);
    assertFalse(queue.pop(chain));

    assertEquals(Optional.of(new Used(first, 7)), ring.take());
    assertEquals(Optional.of(new Used(second, 0)), ring.take());
    assertEquals(Optional.empty(), ring.take());
  }

  @Test
  void readsAndWritesAcrossSegmentsOfAnySize() {
    Segment a = ring.writable(1);
    Segment b = ring.writable(3);
    Segment c = ring.writable(2);
    ring.offer(ring.readable((byte) 1), ring.readable((byte) 2, (byte) 3, (byte) 4), a, b, c);
    assertTrue(queue.pop(chain));

    byte[] copy = new byte[3];
    chain.read(1, copy, 0, 3);
    assertArrayEquals(new byte[] {2, 3, 4}, copy);
    chain.write(0, new byte[] {9, 10, 11, 12, 13}, 0, 5);
    assertArrayEquals(new byte[] {9}, driver.bytes(a.address(), 1));
    assertArrayEquals(new byte[] {10, 11, 12}, driver.bytes(b.address(), 3));
    assertArrayEquals(new byte[] {13, 0}, driver.bytes(c.address(), 2));
    assertThrows(IndexOutOfBoundsException.class, () -> chain.read(2, copy, 0, 3));
    assertThrows(IndexOutOfBoundsException.class, () -> chain.write(6, new byte[] {1}, 0, 1));
  }

  @Test
  void followsAnIndirectTable() {
    int head = ring.offerIndirect(ring.readable((byte) 5), ring.writable(4), ring.writable(4));
    assertTrue(queue.pop(chain));
    assertEquals(1, chain.readableBytes());
    assertEquals(8, chain.writableBytes());
    queue.push(chain, 8);
    assertEquals(Optional.of(new Used(head, 8)), ring.take());
  }

  @Test
  void followsDescriptorsThatEndInAnIndirectTable() {
    long table = driver.allocate(32, 16);
    ring.putDescriptorAt(table, 0x100, 4, NEXT | WRITE, 1);
    ring.putDescriptorAt(table + 16, 0x200, 5, WRITE, 0);
    ring.putDescriptor(0, 0x300, 6, NEXT, 1);
    // The device must ignore the write flag of the descriptor that refers to the table.
    ring.putDescriptor(1, table, 32, INDIRECT | WRITE, 0);
    ring.publish(0);
    assertTrue(queue.pop(chain));
    assertEquals(6, chain.readableBytes());
    assertEquals(9, chain.writableBytes());
  }

  @Test
  void takesAChainAsLongAsTheQueue() {
    Segment[] all = new Segment[SIZE];
    for (int i = 0; i < SIZE; i++) {
      all[i] = ring.writable(1);
    }
    ring.offer(all);
    assertTrue(queue.pop(chain));
    assertEquals(SIZE, chain.segments());
  }

  @Test
  void goesOnWhereTheIndicesWrap() {
    for (int i = 0; i < 70_000; i++) {
      ring.offer(new Segment(0x100, 1, true));
      assertTrue(queue.pop(chain));
      queue.push(chain, i);
      assertEquals(i, ring.take().orElseThrow().written());
    }
  }

  @Test
  void copiesDescriptorsSoThatLaterChangesDoNotMatter() {
    ring.offer(ring.readable((byte) 1), ring.writable(10));
    assertTrue(queue.pop(chain));
    for (int i = 0; i < SIZE; i++) {
      ring.putDescriptor(i, -1, -1, -1, -1);
    }
    assertEquals(1, chain.readableBytes());
    assertEquals(10, chain.writableBytes());
    chain.write(0, new byte[10], 0, 10);
  }

  @Test
  void interruptsOnlyWhereTheDriverAsksForIt() {
    ring.requestInterrupt();
    returnOne();
    assertTrue(queue.interruptNeeded());
    returnOne();
    assertFalse(queue.interruptNeeded(), "the driver has asked for the first one only");
    ring.take();
    ring.take();
    ring.requestInterrupt();
    returnOne();
    returnOne();
    assertTrue(queue.interruptNeeded(), "one of two");
    assertFalse(queue.interruptNeeded(), "nothing new");
  }

  @Test
  void interruptsByFlagWithoutEventIndices() {
    start(DriverFixture.VERSION_1);
    returnOne();
    assertTrue(queue.interruptNeeded());
    memory.putShort(ring.available(), (short) 1);
    returnOne();
    assertFalse(queue.interruptNeeded());
  }

  private void returnOne() {
    ring.offer(new Segment(0x100, 1, true));
    assertTrue(queue.pop(chain));
    queue.push(chain, 1);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void isRungForTheNextBufferAfterAskingForIt(boolean eventIndex) {
    start(DriverFixture.VERSION_1 | (eventIndex ? DriverFixture.EVENT_IDX : 0));
    assertFalse(queue.requestNotifications());
    ring.offer(new Segment(0x100, 1, true));
    assertTrue(ring.mustRing());
    ring.kick();
    queue.suppressNotifications();
    assertTrue(queue.pop(chain));
    queue.push(chain, 0);
    ring.offer(new Segment(0x100, 1, true));
    assertFalse(ring.mustRing());
    assertTrue(queue.requestNotifications(), "the buffer that came silently is reported");
  }

  @Test
  void passesOverEmptyDescriptors() {
    ring.putDescriptor(0, -1, 0, NEXT, 1);
    ring.putDescriptor(1, 0x100, 4, NEXT, 2);
    ring.putDescriptor(2, 0, 0, NEXT | WRITE, 3);
    ring.putDescriptor(3, 0x200, 5, NEXT, 4);
    ring.putDescriptor(4, 0x300, 6, WRITE | NEXT, 5);
    ring.putDescriptor(5, 0x400, 0, 0, 0);
    ring.publish(0);
    assertTrue(queue.pop(chain));
    assertEquals(9, chain.readableBytes());
    assertEquals(6, chain.writableBytes());
    assertEquals(2, chain.readableSegments());
    assertEquals(3, chain.segments());
  }

  @Test
  void takesABufferOfNothing() {
    ring.putDescriptor(0, 0x100, 0, 0, 0);
    ring.publish(0);
    assertTrue(queue.pop(chain));
    assertEquals(0, chain.segments());
    queue.push(chain, 0);
  }

  @Test
  void findsAgainWhatWasPutBack() {
    int first = ring.offer(ring.readable((byte) 1));
    int second = ring.offer(ring.readable((byte) 2, (byte) 3));
    assertTrue(queue.pop(chain));
    queue.push(chain, 0);
    assertTrue(queue.pop(chain));
    queue.putBack();
    assertEquals(1, queue.waiting());
    // What the driver has made of it meanwhile is what counts, checked anew.
    ring.putDescriptor(second, 0x100, 7, WRITE, 0);
    assertTrue(queue.pop(chain));
    assertEquals(7, chain.writableBytes());
    assertEquals(0, chain.readableBytes());
    queue.push(chain, 7);
    assertEquals(Optional.of(new Used(first, 0)), ring.take());
    assertEquals(Optional.of(new Used(second, 7)), ring.take());
    assertFalse(queue.pop(chain));
  }

  @Test
  void saysWhatItIs() {
    returnOne();
    ring.offer(new Segment(0x100, 1, true));
    assertTrue(queue.pop(chain));
    assertEquals(
        new QueueState(
            new QueueLayout(SIZE, ring.descriptors(), ring.available(), ring.used()), 2, 1, 0),
        queue.state());
  }

  // ---- hostile drivers

  private void assertFault(String problem) {
    GuestFault fault = assertThrows(GuestFault.class, () -> queue.pop(chain));
    assertTrue(fault.getMessage().contains(problem), () -> "says instead: " + fault.getMessage());
    assertTrue(fault.getMessage().startsWith("test-device queue 0: "), fault.getMessage());
  }

  @Test
  void faultsWhereTheAvailableIndexJumps() {
    ring.publishIndex(SIZE + 1);
    assertFault("available index 9 is 9 ahead of 0 in a queue of 8 with 0 buffers in use");
  }

  @Test
  void faultsWhereTheAvailableIndexGoesBack() {
    returnOne();
    ring.publishIndex(0);
    assertFault("available index 0 is 65535 ahead");
  }

  @Test
  void faultsWhereMoreIsAvailableThanCanBeWithBuffersInUse() {
    for (int i = 0; i < SIZE; i++) {
      ring.publish(0);
      ring.putDescriptor(0, 0x100, 1, 0, 0);
      assertTrue(queue.pop(chain));
    }
    ring.publish(0);
    assertFault("with 8 buffers in use");
  }

  @Test
  void faultsWhereTheHeadIsNoDescriptor() {
    ring.publish(SIZE);
    assertFault("available ring names descriptor 8 of 8");
  }

  @Test
  void faultsWhereNextIsNoDescriptor() {
    ring.putDescriptor(0, 0x100, 1, NEXT, SIZE);
    ring.publish(0);
    assertFault("descriptor 0 of the chain at 0: next is 8 of 8");
  }

  @Test
  void faultsWhereAChainLoops() {
    ring.putDescriptor(0, 0x100, 1, NEXT, 1);
    ring.putDescriptor(1, 0x100, 1, NEXT, 0);
    ring.publish(0);
    assertFault("longer than the queue");
  }

  @Test
  void faultsWhereAChainOfEmptyDescriptorsLoops() {
    ring.putDescriptor(0, 0x100, 0, NEXT, 0);
    ring.publish(0);
    assertFault("longer than the queue");
  }

  @Test
  void faultsWhereADescriptorFollowsItself() {
    ring.putDescriptor(3, 0x100, 1, NEXT, 3);
    ring.publish(3);
    assertFault("descriptor 3 of the chain at 3: the chain is longer than the queue");
  }

  @Test
  void faultsWhereAddressAndLengthOverflow() {
    ring.putDescriptor(0, -16, 32, 0, 0);
    ring.publish(0);
    assertFault("32 bytes at 0xfffffffffffffff0 are not all RAM");
  }

  @Test
  void faultsWhereTheLengthLeavesRam() {
    ring.putDescriptor(0, RAM - 4, 5, 0, 0);
    ring.publish(0);
    assertFault("5 bytes at 0xffffc are not all RAM");
  }

  @Test
  void faultsWhereTheLengthIsTheLargestThereIs() {
    ring.putDescriptor(0, 0, -1, 0, 0);
    ring.publish(0);
    assertFault("4294967295 bytes at 0x0 are not all RAM");
  }

  @Test
  void faultsWhereADescriptorIsOutsideOfRam() {
    ring.putDescriptor(0, GuestMemory.HOLE_START, 1, 0, 0);
    ring.publish(0);
    assertFault("1 bytes at 0xc0000000 are not all RAM");
  }

  @Test
  void faultsWhereReadableFollowsWritable() {
    ring.putDescriptor(0, 0x100, 1, NEXT | WRITE, 1);
    ring.putDescriptor(1, 0x100, 1, 0, 0);
    ring.publish(0);
    assertFault("descriptor 1 of the chain at 0: device-readable after device-writable");
  }

  @Test
  void faultsWhereIndirectWasNotNegotiated() {
    start(DriverFixture.VERSION_1);
    ring.offerIndirect(new Segment(0x100, 1, true));
    assertFault("indirect, which was not negotiated");
  }

  @Test
  void faultsWhereIndirectIsNested() {
    long table = driver.allocate(16, 16);
    ring.putDescriptorAt(table, table, 16, INDIRECT, 0);
    ring.putDescriptor(0, table, 16, INDIRECT, 0);
    ring.publish(0);
    assertFault("indirect in an indirect table");
  }

  @Test
  void faultsWhereIndirectHasANext() {
    ring.putDescriptor(0, 0x100, 16, INDIRECT | NEXT, 1);
    ring.publish(0);
    assertFault("both indirect and with a next");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 15, 17, -1})
  void faultsWhereAnIndirectTableIsNoTable(int length) {
    ring.putDescriptor(0, 0x100, length, INDIRECT, 0);
    ring.publish(0);
    assertFault("an indirect table of " + Integer.toUnsignedString(length) + " bytes");
  }

  @Test
  void faultsWhereAnIndirectTableIsNotInRam() {
    ring.putDescriptor(0, RAM - 16, 32, INDIRECT, 0);
    ring.publish(0);
    assertFault("the indirect table at 0xffff0 is not in RAM");
  }

  @Test
  void faultsWhereNextLeavesAnIndirectTable() {
    long table = driver.allocate(16, 16);
    ring.putDescriptorAt(table, 0x100, 1, NEXT, 1);
    ring.putDescriptor(0, table, 16, INDIRECT, 0);
    ring.publish(0);
    assertFault("next is 1 of 1");
  }

  @Test
  void faultsWhereAnIndirectTableLoops() {
    long table = driver.allocate(32, 16);
    ring.putDescriptorAt(table, 0x100, 1, NEXT, 1);
    ring.putDescriptorAt(table + 16, 0x100, 1, NEXT, 0);
    ring.putDescriptor(0, table, 32, INDIRECT, 0);
    ring.publish(0);
    assertFault("longer than the queue");
  }

  @Test
  void faultsWhereABufferIsTooLongInTotal() {
    try (FakeDeviceResources large = new FakeDeviceResources(2L << 30)) {
      TestDevice largeDevice = new TestDevice(large, SIZE);
      DriverFixture largeDriver = new DriverFixture(large, new MmioTransport(largeDevice));
      largeDriver.negotiate(DriverFixture.VERSION_1);
      DriverQueue largeRing = largeDriver.configure(0, SIZE);
      largeDriver.driverOk();
      largeRing.offer(new Segment(0, 1 << 30, true), new Segment(1 << 20, 1 << 30, true));
      GuestFault fault =
          assertThrows(
              GuestFault.class,
              () -> largeDevice.active(0).pop(new DescriptorChain(large.memory(), SIZE)));
      assertTrue(fault.getMessage().contains("longer than 2 GiB"), fault.getMessage());
      largeDevice.close();
    }
  }
}
