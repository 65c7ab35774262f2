// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static dev.nacelle.kvm.device.virtio.DriverFixture.DRIVER_FEATURES;
import static dev.nacelle.kvm.device.virtio.DriverFixture.DRIVER_FEATURES_SEL;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_DESC;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_DEVICE;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_DRIVER;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_NOTIFY;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_READY;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_SEL;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_SIZE;
import static dev.nacelle.kvm.device.virtio.DriverFixture.QUEUE_SIZE_MAX;
import static dev.nacelle.kvm.device.virtio.DriverFixture.STATUS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.FakeDeviceResources;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * What drivers in use write to the registers when they set a device up, tidy up and come again, in
 * their order: each finds a device that works, or one that it is told to reset.
 */
class KnownDriversTest {
  private static final int QUEUES = 2;

  private final FakeDeviceResources resources = new FakeDeviceResources(1 << 20);
  private final TestDevice device = new TestDevice(resources, 16, 8);
  private final MmioTransport transport = new MmioTransport(device);
  private final DriverFixture driver = new DriverFixture(resources, transport);

  @AfterEach
  void close() {
    device.close();
    resources.close();
  }

  private void assertLive() {
    assertEquals(0xf, driver.read(STATUS) & 0x7f);
    resources.runTasks();
    for (int i = 0; i < QUEUES; i++) {
      assertTrue(device.hasQueue(i));
    }
  }

  private Map<String, Long> ignored() {
    Map<String, Long> counts = new HashMap<>();
    transport.addIgnored(counts);
    return counts;
  }

  private void addStatus(int bit) {
    driver.write(STATUS, driver.read(STATUS) | bit);
  }

  private void features(long features) {
    driver.write(DRIVER_FEATURES_SEL, 1);
    driver.write(DRIVER_FEATURES, (int) (features >>> 32));
    driver.write(DRIVER_FEATURES_SEL, 0);
    driver.write(DRIVER_FEATURES, (int) features);
  }

  private int largestSize(int index) {
    driver.write(QUEUE_SEL, index);
    return driver.read(QUEUE_SIZE_MAX);
  }

  private void queue(int index, int size) {
    driver.write(QUEUE_SEL, index);
    assertEquals(0, driver.read(QUEUE_READY), "drivers insist on that");
    driver.write(QUEUE_SIZE, size);
    driver.write64(QUEUE_DESC, 0x1000 + 0x4000L * index);
    driver.write64(QUEUE_DRIVER, 0x2000 + 0x4000L * index);
    driver.write64(QUEUE_DEVICE, 0x3000 + 0x4000L * index);
    driver.write(QUEUE_READY, 1);
  }

  // ---- Linux: drivers/virtio/virtio.c and virtio_mmio.c

  private void linuxProbe() {
    driver.write(STATUS, 0);
    addStatus(1);
    addStatus(2);
    features(driver.offeredFeatures());
    addStatus(8);
    assertTrue((driver.read(STATUS) & 8) != 0);
    for (int i = 0; i < QUEUES; i++) {
      queue(i, largestSize(i));
    }
    addStatus(4);
  }

  private void linuxRemove() {
    driver.write(STATUS, 0);
    for (int i = 0; i < QUEUES; i++) {
      driver.write(QUEUE_SEL, i);
      driver.write(QUEUE_READY, 0);
      assertEquals(0, driver.read(QUEUE_READY), "it would warn");
    }
    addStatus(1);
  }

  @Test
  void worksForLinuxThroughUnbindingAndBinding() {
    for (int i = 0; i < 3; i++) {
      linuxProbe();
      assertLive();
      linuxRemove();
      assertFalse(device.hasQueue(0));
    }
    assertEquals(Map.of(), ignored());
  }

  @Test
  void worksForLinuxThroughSuspension() {
    linuxProbe();
    // virtio_device_freeze, then virtio_device_restore
    linuxRemove();
    linuxProbe();
    assertLive();
    assertEquals(Map.of(), ignored());
  }

  @Test
  void worksForAKernelThatIsStartedByAnotherWhichLeftTheDeviceLive() {
    linuxProbe();
    driver.write(QUEUE_NOTIFY, 0);
    linuxProbe();
    assertLive();
    assertEquals(Map.of(), ignored());
  }

  @Test
  void worksForLinuxAfterAProbeThatFailed() {
    linuxProbe();
    addStatus(128);
    linuxRemove();
    linuxProbe();
    assertLive();
    assertEquals(Map.of(), ignored());
  }

  // ---- Rust's virtio-drivers: src/transport/mod.rs and mmio.rs

  private void rustBegin() {
    driver.write(STATUS, 0);
    driver.write(STATUS, 1 | 2);
    driver.write(DRIVER_FEATURES_SEL, 0);
    driver.write(DRIVER_FEATURES, 1 << 28 | 1 << 29);
    driver.write(DRIVER_FEATURES_SEL, 1);
    driver.write(DRIVER_FEATURES, 1);
    driver.write(STATUS, 1 | 2 | 8);
    for (int i = 0; i < QUEUES; i++) {
      queue(i, 4);
    }
    driver.write(STATUS, 1 | 2 | 8 | 4);
  }

  private void rustQueueUnset(int index) {
    driver.write(QUEUE_SEL, index);
    driver.write(QUEUE_READY, 0);
    assertEquals(0, driver.read(QUEUE_READY), "it waits for that");
    driver.write(QUEUE_SIZE, 0);
    driver.write64(QUEUE_DESC, 0);
    driver.write64(QUEUE_DRIVER, 0);
    driver.write64(QUEUE_DEVICE, 0);
  }

  @Test
  void worksForRustsDriversThroughDroppingAndMakingThem() {
    for (int i = 0; i < 3; i++) {
      rustBegin();
      assertLive();
      rustQueueUnset(0);
      assertFalse(device.hasQueue(0));
      assertTrue(device.hasQueue(1), "one after the other");
      rustQueueUnset(1);
      driver.write(STATUS, 0);
    }
    assertEquals(Map.of(), ignored());
  }

  // ---- OSv: drivers/virtio-mmio.cc; Nanos: src/virtio/virtio_mmio.c; Unikraft: virtio_mmio.c

  @Test
  void worksForOsvWhichMakesQueuesReadyLast() {
    driver.write(STATUS, 0);
    addStatus(1);
    addStatus(2);
    features(DriverFixture.VERSION_1 | DriverFixture.EVENT_IDX);
    addStatus(8);
    for (int i = 0; i < QUEUES; i++) {
      queue(i, 8);
    }
    addStatus(4);
    assertLive();
    assertEquals(Map.of(), ignored());
  }

  @Test
  void worksForNanosWhichAcknowledgesAheadOfItsDriver() {
    driver.write(STATUS, 0);
    driver.write(STATUS, 1);
    addStatus(2);
    features(DriverFixture.VERSION_1);
    addStatus(8);
    queue(0, largestSize(0));
    queue(1, largestSize(1));
    addStatus(4);
    assertLive();
    assertEquals(Map.of(), ignored());
  }

  // ---- seL4's driver framework: drivers/*/virtio

  @Test
  void worksForSel4WhichWritesEachStatusBitAlone() {
    driver.write(STATUS, 0);
    driver.write(STATUS, 1);
    driver.write(STATUS, 2);
    driver.write(DRIVER_FEATURES, 0);
    driver.write(DRIVER_FEATURES_SEL, 1);
    driver.write(DRIVER_FEATURES, 1);
    driver.write(STATUS, 8);
    assertTrue((driver.read(STATUS) & 8) != 0);
    queue(0, 8);
    queue(1, 8);
    driver.write(STATUS, 4);
    assertLive();
    assertEquals(Map.of("test-device: " + Ignored.STATUS, 3L), ignored());
  }

  // ---- FreeBSD until 13, for the legacy interface: sys/dev/virtio/mmio/virtio_mmio.c

  @Test
  void tellsALegacyDriverToResetAndLetsItGo() {
    driver.write(STATUS, 0);
    addStatus(1);
    addStatus(2);
    driver.write(DRIVER_FEATURES, 1 << 28);
    int guestPageSize = 0x28;
    int queueAlign = 0x3c;
    int queuePageNumber = 0x40;
    driver.write(guestPageSize, 4096);
    for (int i = 0; i < QUEUES; i++) {
      driver.write(QUEUE_SEL, i);
      driver.write(QUEUE_SIZE, driver.read(QUEUE_SIZE_MAX));
      driver.write(queueAlign, 4096);
      driver.write(queuePageNumber, 1 + i);
    }
    addStatus(4);
    assertEquals(0x43, driver.read(STATUS));
    assertFalse(device.hasQueue(0));
    driver.write(STATUS, 0);
    driver.write(queuePageNumber, 0);
    assertEquals(
        Map.of(
            "test-device: " + Ignored.NO_REGISTER, 6L,
            "test-device: " + Ignored.EARLY_DRIVER_OK, 1L),
        ignored());
    linuxProbe();
    assertLive();
  }
}
