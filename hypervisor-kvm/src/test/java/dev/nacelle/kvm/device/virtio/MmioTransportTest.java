// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.memory.GuestMemory;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The registers and the device status under a driver, polite and hostile. */
class MmioTransportTest {
  private static final long RAM = 1 << 20;
  private static final long FEATURES = DriverFixture.VERSION_1 | TestDevice.FEATURE;

  private final FakeDeviceResources resources = new FakeDeviceResources(RAM);
  private final TestDevice device = new TestDevice(resources, 16, 8);
  private final MmioTransport transport = new MmioTransport(device);
  private final DriverFixture driver = new DriverFixture(resources, transport);

  @AfterEach
  void close() {
    device.close();
    resources.close();
  }

  // ---- polite

  @Test
  void saysWhatItIs() {
    assertEquals(0x74726976, driver.read(0x000));
    assertEquals(2, driver.read(0x004));
    assertEquals(TestDevice.ID, driver.read(0x008));
    assertEquals(0, driver.read(DriverFixture.STATUS));
    assertEquals(0, driver.read(0x0fc), "config generation");
    assertEquals(-1, driver.read(0x0b0), "there is no shared memory");
    assertEquals(-1, driver.read(0x0bc));
  }

  @Test
  void offersItsFeaturesInTwoWords() {
    assertEquals(
        DriverFixture.VERSION_1
            | DriverFixture.EVENT_IDX
            | DriverFixture.INDIRECT_DESC
            | TestDevice.FEATURE,
        driver.offeredFeatures());
    driver.write(DriverFixture.DEVICE_FEATURES_SEL, 2);
    assertEquals(0, driver.read(DriverFixture.DEVICE_FEATURES));
  }

  @Test
  void goesThroughTheStatesToALiveDevice() {
    driver.negotiate(FEATURES);
    assertEquals(0, device.activations);
    driver.configure(0, 16);
    driver.configure(1, 4);
    assertFalse(device.hasQueue(0), "not before DRIVER_OK");
    driver.driverOk();
    assertEquals(1 | 2 | 4 | 8, driver.read(DriverFixture.STATUS));
    assertEquals(16, device.active(0).size());
    assertEquals(4, device.active(1).size());
    assertEquals(List.of(0, 1), device.processed, "the driver may have added buffers before");
  }

  @Test
  void allowsQueuesThatAreNotUsed() {
    driver.negotiate(FEATURES);
    driver.configure(1, 4);
    driver.driverOk();
    assertFalse(device.hasQueue(0));
    assertTrue(device.hasQueue(1));
  }

  @Test
  void tellsTheLargestSizeOfEachQueueAndZeroForNone() {
    driver.write(DriverFixture.QUEUE_SEL, 0);
    assertEquals(16, driver.read(DriverFixture.QUEUE_SIZE_MAX));
    driver.write(DriverFixture.QUEUE_SEL, 1);
    assertEquals(8, driver.read(DriverFixture.QUEUE_SIZE_MAX));
    for (int none : new int[] {2, Integer.MAX_VALUE, -1}) {
      driver.write(DriverFixture.QUEUE_SEL, none);
      assertEquals(0, driver.read(DriverFixture.QUEUE_SIZE_MAX));
      assertEquals(0, driver.read(DriverFixture.QUEUE_READY));
    }
  }

  @Test
  void tellsWhetherAQueueIsReady() {
    driver.negotiate(FEATURES);
    driver.configure(1, 8);
    assertEquals(1, driver.read(DriverFixture.QUEUE_READY));
    driver.write(DriverFixture.QUEUE_SEL, 0);
    assertEquals(0, driver.read(DriverFixture.QUEUE_READY));
    driver.write(DriverFixture.STATUS, 0);
    driver.write(DriverFixture.QUEUE_SEL, 1);
    assertEquals(0, driver.read(DriverFixture.QUEUE_READY));
    // Linux takes its queues away once more after a reset.
    driver.write(DriverFixture.QUEUE_READY, 0);
  }

  @Test
  void stopsAQueueThatTheDriverTakesAway() {
    driver.negotiate(FEATURES);
    driver.configure(0, 16);
    driver.configure(1, 8);
    driver.driverOk();
    driver.write(DriverFixture.QUEUE_SEL, 1);
    driver.write(DriverFixture.QUEUE_READY, 0);
    assertEquals(0, driver.read(DriverFixture.QUEUE_READY));
    assertFalse(device.hasQueue(1));
    assertTrue(device.hasQueue(0));
  }

  @Test
  void startsAgainAfterAReset() {
    driver.negotiate(FEATURES);
    driver.configure(0, 16);
    driver.driverOk();
    driver.write(DriverFixture.STATUS, 0);
    assertEquals(0, driver.read(DriverFixture.STATUS));
    assertFalse(device.hasQueue(0));
    driver.negotiate(FEATURES);
    driver.configure(0, 8);
    driver.driverOk();
    assertEquals(8, device.active(0).size());
    assertEquals(2, device.activations);
  }

  static LongStream unacceptable() {
    return LongStream.of(
        0, TestDevice.FEATURE, DriverFixture.VERSION_1 | 1, DriverFixture.VERSION_1 | 1L << 63);
  }

  @ParameterizedTest
  @MethodSource("unacceptable")
  void clearsFeaturesOkWhereItCannotAcceptTheFeatures(long features) {
    assertThrows(IllegalStateException.class, () -> driver.negotiate(features));
    assertEquals(1 | 2, driver.read(DriverFixture.STATUS));
    driver.negotiate(FEATURES);
  }

  @Test
  void refusesFeaturesBeyondTheSecondWord() {
    driver.acknowledge();
    driver.write(DriverFixture.DRIVER_FEATURES_SEL, 1);
    driver.write(DriverFixture.DRIVER_FEATURES, 1);
    driver.write(DriverFixture.DRIVER_FEATURES_SEL, 2);
    driver.write(DriverFixture.DRIVER_FEATURES, 1);
    driver.write(DriverFixture.STATUS, 1 | 2 | 8);
    assertEquals(1 | 2, driver.read(DriverFixture.STATUS));
    assertTrue(transport.state().unknownFeatures());
    driver.write(DriverFixture.STATUS, 0);
    assertFalse(transport.state().unknownFeatures());
  }

  @Test
  void keepsInterruptStatusUntilItIsAcknowledged() {
    device.interrupt().usedBuffer();
    assertEquals(1, resources.takeInterrupts());
    assertEquals(1, driver.read(DriverFixture.INTERRUPT_STATUS));
    assertEquals(1, driver.read(DriverFixture.INTERRUPT_STATUS));
    device.interrupt().usedBuffer();
    assertEquals(1, resources.takeInterrupts(), "an edge for each event");
    driver.write(DriverFixture.INTERRUPT_ACK, 2);
    assertEquals(1, driver.read(DriverFixture.INTERRUPT_STATUS));
    driver.write(DriverFixture.INTERRUPT_ACK, 1);
    assertEquals(0, driver.read(DriverFixture.INTERRUPT_STATUS));
    device.interrupt().usedBuffer();
    driver.write(DriverFixture.STATUS, 0);
    assertEquals(0, driver.read(DriverFixture.INTERRUPT_STATUS));
  }

  @Test
  void hasADoorbellForEachQueue() {
    assertTrue(resources.hasDoorbell(DriverFixture.QUEUE_NOTIFY, 0));
    assertTrue(resources.hasDoorbell(DriverFixture.QUEUE_NOTIFY, 1));
    assertFalse(resources.hasDoorbell(DriverFixture.QUEUE_NOTIFY, 2));
  }

  @Test
  void processesOnTheEventLoopWhatIsRungWithoutADoorbell() {
    for (int i = 0; i < 5; i++) {
      driver.write(DriverFixture.QUEUE_NOTIFY, 1);
    }
    assertEquals(List.of(), device.processed);
    resources.runTasks();
    assertEquals(List.of(1), device.processed, "however often it was rung");
    driver.write(DriverFixture.QUEUE_NOTIFY, 1);
    resources.runTasks();
    assertEquals(List.of(1, 1), device.processed);
  }

  @Test
  void readsItsConfigurationInAnyWidth() {
    assertEquals(0x0807_0605_0403_0201L & 0xff_ffff_ffff_ffffL, transport.read(0x100, 8));
    assertEquals(0x04030201L, transport.read(0x100, 4));
    assertEquals(0x0403L, transport.read(0x102, 2));
    assertEquals(0x06L, transport.read(0x105, 1));
    assertEquals(0x0007L, transport.read(0x106, 2), "0 behind the end");
    assertEquals(0, transport.read(0xffc, 4));
  }

  @Test
  void readsNothingWhereTheDriverMayNotRead() {
    assertEquals(0, transport.read(0x000, 1));
    assertEquals(0, transport.read(0x000, 8));
    assertEquals(0, transport.read(0x002, 4));
    assertEquals(0, driver.read(DriverFixture.QUEUE_NOTIFY));
    assertEquals(0, driver.read(0x0c0));
  }

  @Test
  void saysWhatTheDriverHasMadeOfIt() {
    assertEquals(List.of(), transport.state().working());
    driver.negotiate(FEATURES);
    driver.configureRaw(1, 8, 0x1000, 0x2000, 0x3000);
    driver.driverOk();
    device.interrupt().usedBuffer();
    QueueLayout layout = new QueueLayout(8, 0x1000, 0x2000, 0x3000);
    assertEquals(
        new TransportState(
            TestDevice.ID,
            0xf,
            0,
            1,
            FEATURES,
            false,
            1,
            1,
            List.of(
                new TransportState.Registers(false, new QueueLayout(0, 0, 0, 0)),
                new TransportState.Registers(true, layout)),
            Arrays.asList(null, new QueueState(layout, 0, 0, 0))),
        transport.state());
  }

  // ---- against the rules, and harmless

  private void assertIgnored(Ignored what, Runnable offence) {
    long before = ignored(what);
    offence.run();
    assertEquals(before + 1, ignored(what), what.toString());
  }

  private long ignored(Ignored what) {
    Map<String, Long> counts = new HashMap<>();
    transport.addIgnored(counts);
    return counts.getOrDefault("test-device: " + what, 0L);
  }

  @Test
  void ignoresWritesOfOtherWidths() {
    driver.acknowledge();
    assertIgnored(Ignored.REGISTER_WIDTH, () -> transport.write(0x70, 1, 0));
    assertIgnored(Ignored.REGISTER_WIDTH, () -> transport.write(0x70, 8, 0));
    assertIgnored(Ignored.REGISTER_WIDTH, () -> transport.write(0x72, 4, 0));
    assertEquals(3, driver.read(DriverFixture.STATUS));
  }

  @Test
  void ignoresWritesToWhatIsNoWritableRegister() {
    assertIgnored(Ignored.NO_REGISTER, () -> driver.write(0, 1));
    assertIgnored(Ignored.NO_REGISTER, () -> driver.write(0xc0, 1));
    assertIgnored(Ignored.CONFIGURATION, () -> driver.write(0x104, 1));
    assertEquals(0x74726976, driver.read(0));
    assertEquals(0x0007_0605, driver.read(0x104));
  }

  @Test
  void ignoresNotificationsForNoQueue() {
    assertIgnored(Ignored.NO_QUEUE, () -> driver.write(DriverFixture.QUEUE_NOTIFY, 2));
    assertIgnored(Ignored.NO_QUEUE, () -> driver.write(DriverFixture.QUEUE_NOTIFY, -1));
    assertEquals(0, resources.waitingTasks());
  }

  @ParameterizedTest
  @ValueSource(ints = {2, Integer.MAX_VALUE, -1})
  void ignoresWhatIsWrittenAboutAQueueThatIsNotThere(int queue) {
    driver.negotiate(FEATURES);
    driver.write(DriverFixture.QUEUE_SEL, queue);
    assertIgnored(Ignored.NO_QUEUE, () -> driver.write(DriverFixture.QUEUE_SIZE, 8));
    assertIgnored(Ignored.NO_QUEUE, () -> driver.write(DriverFixture.QUEUE_DESC, 8));
    assertIgnored(Ignored.NO_QUEUE, () -> driver.write(DriverFixture.QUEUE_READY, 1));
    assertIgnored(Ignored.NO_QUEUE, () -> driver.write(DriverFixture.QUEUE_READY, 0));
    assertEquals(0, driver.read(DriverFixture.QUEUE_READY));
  }

  @Test
  void takesQueuesThatAreConfiguredBeforeFeaturesOk() {
    driver.acknowledge();
    driver.configureRaw(0, 8, 0x1000, 0x2000, 0x3000);
    driver.write(DriverFixture.DRIVER_FEATURES_SEL, 1);
    driver.write(DriverFixture.DRIVER_FEATURES, 1);
    driver.write(DriverFixture.STATUS, 0xb);
    driver.driverOk();
    assertEquals(8, device.active(0).size());
    assertEquals(Map.of(), allIgnored());
  }

  private Map<String, Long> allIgnored() {
    Map<String, Long> counts = new HashMap<>();
    transport.addIgnored(counts);
    return counts;
  }

  private static int[] queueRegisters() {
    return new int[] {
      DriverFixture.QUEUE_SIZE,
      DriverFixture.QUEUE_DESC,
      DriverFixture.QUEUE_DESC + 4,
      DriverFixture.QUEUE_DRIVER,
      DriverFixture.QUEUE_DRIVER + 4,
      DriverFixture.QUEUE_DEVICE,
      DriverFixture.QUEUE_DEVICE + 4
    };
  }

  @Test
  void keepsALiveQueueAsItWasWhateverIsWritten() {
    driver.negotiate(FEATURES);
    DriverQueue queue = driver.configure(0, 8);
    driver.driverOk();
    QueueState before = device.active(0).state();
    for (int register : queueRegisters()) {
      assertIgnored(Ignored.READY_QUEUE, () -> driver.write(register, 16));
    }
    assertEquals(before, device.active(0).state());
    assertEquals(before.layout(), transport.state().queues().get(0).layout());
    assertEquals(queue.descriptors(), before.layout().descriptors());
  }

  @Test
  void keepsAwayAQueueThatWasTakenAwayUntilAReset() {
    driver.negotiate(FEATURES);
    DriverQueue queue = driver.configure(0, 8);
    driver.driverOk();
    driver.write(DriverFixture.QUEUE_READY, 0);
    driver.configureRaw(0, 8, queue.descriptors(), queue.available(), queue.used());
    assertEquals(
        Map.of("test-device: " + Ignored.LATE_QUEUE, 1L),
        allIgnored(),
        "clearing its registers is no offence");
    assertEquals(0, driver.read(DriverFixture.QUEUE_READY));
    assertFalse(device.hasQueue(0));
    driver.negotiate(FEATURES);
    driver.configure(0, 8);
    driver.driverOk();
    assertTrue(device.hasQueue(0));
  }

  @Test
  void keepsAReadyQueueAsItWasBeforeTheDeviceIsLive() {
    driver.negotiate(FEATURES);
    driver.configure(0, 8);
    assertIgnored(Ignored.READY_QUEUE, () -> driver.write(DriverFixture.QUEUE_SIZE, 16));
    assertIgnored(Ignored.QUEUE_READY, () -> driver.write(DriverFixture.QUEUE_READY, 2));
    driver.driverOk();
    assertEquals(8, device.active(0).size());
  }

  @Test
  void takesAStatusBitAfterTheOtherAlsoWithoutThoseBefore() {
    driver.write(DriverFixture.STATUS, 0);
    driver.write(DriverFixture.STATUS, 1);
    driver.write(DriverFixture.STATUS, 2);
    driver.write(DriverFixture.DRIVER_FEATURES_SEL, 1);
    driver.write(DriverFixture.DRIVER_FEATURES, 1);
    driver.write(DriverFixture.STATUS, 8);
    assertEquals(0xb, driver.read(DriverFixture.STATUS));
    driver.configure(0, 8);
    driver.write(DriverFixture.STATUS, 4);
    assertEquals(0xf, driver.read(DriverFixture.STATUS));
    assertTrue(device.hasQueue(0));
    assertEquals(3, ignored(Ignored.STATUS));
  }

  @Test
  void ignoresStatusBitsThatAreNone() {
    driver.acknowledge();
    assertIgnored(Ignored.STATUS, () -> driver.write(DriverFixture.STATUS, 0x13));
    assertIgnored(Ignored.STATUS, () -> driver.write(DriverFixture.STATUS, 0x103));
    assertEquals(3, driver.read(DriverFixture.STATUS));
  }

  @Test
  void needsAResetAfterDriverOkWithoutFeaturesOk() {
    driver.acknowledge();
    assertIgnored(Ignored.EARLY_DRIVER_OK, () -> driver.write(DriverFixture.STATUS, 7));
    assertEquals(0x43, driver.read(DriverFixture.STATUS));
    assertEquals(0, device.activations);
    // Drivers add a bit to what they read, the device's own bit included.
    driver.write(DriverFixture.STATUS, 0x43 | 0x80);
    assertEquals(0xc3, driver.read(DriverFixture.STATUS));
    assertEquals(0, ignored(Ignored.STATUS));
    driver.write(DriverFixture.DRIVER_FEATURES_SEL, 1);
    driver.write(DriverFixture.DRIVER_FEATURES, 1);
    driver.write(DriverFixture.STATUS, 0xcf);
    assertEquals(0, device.activations, "only a reset helps");
    driver.negotiate(FEATURES);
    driver.driverOk();
    assertEquals(0xf, driver.read(DriverFixture.STATUS));
    assertEquals(1, device.activations);
  }

  @Test
  void takesNoteOfADriverThatGaveUp() {
    driver.acknowledge();
    driver.write(DriverFixture.STATUS, 0x83);
    assertEquals(0x83, driver.read(DriverFixture.STATUS));
  }

  @Test
  void keepsTheFeaturesThatFeaturesOkSettled() {
    driver.negotiate(FEATURES);
    assertIgnored(Ignored.LATE_FEATURES, () -> driver.write(DriverFixture.DRIVER_FEATURES, 0));
    assertEquals(FEATURES, transport.state().driverFeatures());
  }

  // ---- hostile

  private void assertActivationFault(
      String problem, int size, long descriptors, long available, long used) {
    driver.negotiate(FEATURES);
    driver.configureRaw(0, size, descriptors, available, used);
    GuestFault fault = assertThrows(GuestFault.class, driver::driverOk);
    assertEquals("test-device queue 0: " + problem, fault.getMessage());
    assertEquals(0, device.activations);
    assertEquals(0xb, driver.read(DriverFixture.STATUS));
  }

  @Test
  void faultsOnASizeThatIsNoPowerOfTwo() {
    String problem = " is not a power of two up to 32768";
    assertActivationFault("size 0" + problem, 0, 0x1000, 0x2000, 0x3000);
    assertActivationFault("size 3" + problem, 3, 0x1000, 0x2000, 0x3000);
  }

  @Test
  void faultsOnASizeAboveTheMaximum() {
    String problem = " is more than QueueSizeMax, 16";
    assertActivationFault("size 32" + problem, 32, 0x1000, 0x2000, 0x3000);
    assertActivationFault("size 65552" + problem, 0x10010, 0x1000, 0x2000, 0x3000);
    assertActivationFault("size 4294967295" + problem, -1, 0x1000, 0x2000, 0x3000);
    assertActivationFault("size 2147483648" + problem, 1 << 31, 0x1000, 0x2000, 0x3000);
  }

  @Test
  void faultsOnMisalignedParts() {
    assertActivationFault(
        "descriptor table at 0x1008 is not aligned to 16", 8, 0x1008, 0x2000, 0x3000);
    assertActivationFault(
        "available ring at 0x2001 is not aligned to 2", 8, 0x1000, 0x2001, 0x3000);
    assertActivationFault("used ring at 0x3002 is not aligned to 4", 8, 0x1000, 0x2000, 0x3002);
  }

  @Test
  void faultsOnPartsOutsideOfRam() {
    assertActivationFault(
        "descriptor table at 0xfff90 is not in RAM", 8, RAM - 0x70, 0x2000, 0x3000);
    assertActivationFault("available ring at 0xffff0 is not in RAM", 8, 0, RAM - 16, 0x3000);
    assertActivationFault(
        "used ring at 0xc0000000 is not in RAM", 8, 0, 0x2000, GuestMemory.HOLE_START);
    assertActivationFault(
        "descriptor table at 0xfffffffffffffff0 is not in RAM", 8, -16, 0x2000, 0x3000);
  }

  @Test
  void takesPartsThatEndWhereRamEnds() {
    driver.negotiate(FEATURES);
    driver.configureRaw(0, 8, RAM - 128, RAM - 128 - 22, RAM - 128 - 22 - 70);
    driver.driverOk();
    assertTrue(device.hasQueue(0));
  }
}
