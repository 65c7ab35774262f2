// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.Stage;
import dev.nacelle.spi.HypervisorException;
import dev.nacelle.spi.VmExit;
import dev.nacelle.spi.VmExit.Reason;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;

/** How machines start and end, and what is left of them. */
@Timeout(120)
class VirtualMachineLifeTest {
  @RegisterExtension final TestMachines machines = new TestMachines();

  private final BareGuest spinning = BareGuest.realMode(BareGuest.SPIN);
  private final BareGuest poweringOff = BareGuest.realMode(BareGuest.REAL_MODE_POWER_OFF);

  @Test
  void closesAGuestThatNeverStops() throws Exception {
    KvmVirtualMachine machine = machines.start(spinning);
    machine.close();
    assertEquals(
        new VmExit(Reason.CLOSED, "the virtual machine test was closed"),
        machine.exit().getNow(null));
  }

  @Test
  void closesAGuestThatHaltedForEver() throws Exception {
    RecordingDevice device = new RecordingDevice();
    KvmVirtualMachine machine =
        machines.start(
            BareGuest.longMode(
                "bf 00 10 00 d0", // mov $0xd0001000, %edi
                "c6 07 11", // movb $0x11, (%rdi)
                "fa f4"), // cli; hlt
            resources -> device);
    assertEquals("write 0 1 11", device.next());
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
    assertEquals("close", device.next());
  }

  @Test
  void closesWhatWasNeverStarted() throws Exception {
    KvmVirtualMachine machine = machines.create(2, spinning);
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
    assertEquals(0, machine.statistics().firstRunNanoTime());
  }

  @Test
  void closesTwiceAndFromManyThreads() throws Exception {
    for (int round = 0; round < 10; round++) {
      KvmVirtualMachine machine = machines.start(spinning);
      CountDownLatch go = new CountDownLatch(1);
      List<Thread> closers = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        Thread closer =
            new Thread(
                () -> {
                  try {
                    go.await();
                  } catch (InterruptedException e) {
                    throw new AssertionError(e);
                  }
                  machine.close();
                  assertTrue(machine.exit().isDone());
                });
        closers.add(closer);
        closer.start();
      }
      go.countDown();
      for (Thread closer : closers) {
        closer.join();
      }
      machine.close();
      assertEquals(Reason.CLOSED, machine.exit().get().reason());
    }
  }

  @Test
  void keepsTheFirstReason() throws Exception {
    KvmVirtualMachine machine = machines.start(poweringOff);
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    machine.close();
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
  }

  @Test
  void closesFromItsOwnCallbacks() throws Exception {
    CountDownLatch before = new CountDownLatch(1);
    KvmVirtualMachine machine = machines.create(poweringOff);
    CompletableFuture<Void> closed =
        machine
            .exit()
            .thenAccept(
                exit -> {
                  machine.close();
                  before.countDown();
                });
    machine.start();
    closed.get();
    before.await();
    machine.close();
    assertThrows(IllegalStateException.class, machine::start);
  }

  @Test
  void startsOnce() throws Exception {
    KvmVirtualMachine machine = machines.start(spinning);
    assertThrows(IllegalStateException.class, machine::start);
    machine.close();
    assertThrows(IllegalStateException.class, machine::start);
    KvmVirtualMachine never = machines.create(spinning);
    never.close();
    assertThrows(IllegalStateException.class, never::start);
  }

  @Test
  void doesNotLetAReaderCancelTheExit() throws Exception {
    KvmVirtualMachine machine = machines.start(spinning);
    assertTrue(machine.exit().cancel(true));
    assertFalse(machine.exit().isDone());
    machine.close();
    assertEquals(Reason.CLOSED, machine.exit().get().reason());
  }

  @Test
  void tellsWhenItFirstRan() throws Exception {
    long before = System.nanoTime();
    KvmVirtualMachine machine = machines.start(poweringOff);
    machine.exit().get();
    long first = machine.statistics().firstRunNanoTime();
    assertTrue(first - before > 0 && System.nanoTime() - first > 0);
  }

  @Test
  void closesItsMachinesWithTheHypervisor() throws Exception {
    KvmVirtualMachine running = machines.start(spinning);
    KvmVirtualMachine created = machines.create(spinning);
    machines.hypervisor().close();
    assertEquals(Reason.CLOSED, running.exit().getNow(null).reason());
    assertEquals(Reason.CLOSED, created.exit().getNow(null).reason());
    assertThrows(IllegalStateException.class, () -> machines.create(spinning));
    machines.hypervisor().close();
  }

  @Test
  void closesWithTheHypervisorWhileACallbackAsksForAMachine() throws Exception {
    CountDownLatch asking = new CountDownLatch(1);
    CompletableFuture<Void> refused =
        machines
            .start(poweringOff)
            .exit()
            .thenAccept(
                exit ->
                    assertThrows(
                        IllegalStateException.class,
                        () -> {
                          while (true) {
                            asking.countDown();
                            machines.create(spinning).close();
                          }
                        }));
    asking.await();
    machines.hypervisor().close();
    refused.get();
  }

  @Test
  void saysWhatToDoWhereTheHostGivesNoThread() throws Exception {
    HypervisorException e =
        assertThrows(
            HypervisorException.class,
            () ->
                machines.create(
                    (memory, hardware) -> {
                      throw new OutOfMemoryError(
                          "unable to create native thread: possibly out of memory or"
                              + " process/resource limits reached");
                    }));
    assertEquals(Stage.CREATE, e.stage());
    assertTrue(String.valueOf(e.remedy()).contains("ulimit -u"), e::remedy);
  }

  @Test
  void endsAlthoughADeviceCannotBeClosed() throws Exception {
    RecordingDevice other = new RecordingDevice();
    KvmVirtualMachine machine =
        machines.start(
            poweringOff,
            resources ->
                new RecordingDevice() {
                  @Override
                  public void close() {
                    throw new OutOfMemoryError("expected");
                  }
                },
            resources -> other);
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    assertEquals("close", other.next());
  }

  @Test
  void refusesMoreProcessorsThanThereCanBe() throws Exception {
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> machines.create(100_000, spinning));
    assertEquals(Stage.CREATE, e.stage());
    assertTrue(e.getMessage().contains("100000 vCPUs"), e::getMessage);
  }

  @Test
  void leavesNothingBehind() throws Exception {
    // Loads classes and starts what the JVM starts once.
    useAndClose();
    Resources before = Resources.now();
    for (int i = 0; i < 20; i++) {
      useAndClose();
    }
    assertEquals(before, Resources.now());
  }

  private void useAndClose() throws Exception {
    RecordingDevice device = new RecordingDevice();
    DeviceFactory factory =
        resources -> {
          resources.doorbell(0x50, 0, () -> {});
          return device;
        };
    KvmVirtualMachine ended = machines.create(2, poweringOff, factory);
    ended.start();
    ended.exit().get();
    ended.close();
    KvmVirtualMachine running = machines.create(2, spinning, factory);
    running.start();
    running.close();
    machines.create(spinning, factory).close();

    RuntimeException failure = new RuntimeException("expected");
    RuntimeException thrown =
        assertThrows(
            RuntimeException.class,
            () ->
                machines.create(
                    (memory, hardware) -> {
                      throw failure;
                    },
                    factory));
    assertSame(failure, thrown);
    assertThrows(
        RuntimeException.class,
        () ->
            machines.create(
                spinning,
                factory,
                resources -> {
                  throw failure;
                }));
  }

  @Test
  void closesTheDevicesOfAMachineThatCouldNotBeBuilt() throws Exception {
    RecordingDevice device = new RecordingDevice();
    assertThrows(
        IllegalStateException.class,
        () ->
            machines.create(
                spinning,
                resources -> device,
                resources -> {
                  throw new IllegalStateException("expected");
                }));
    assertEquals("close", device.next());
  }

  @Test
  void seesOpenResources() throws Exception {
    Resources before = Resources.now();
    KvmVirtualMachine machine = machines.create(spinning);
    Resources during = Resources.now();
    assertNotEquals(before.descriptors(), during.descriptors());
    // Its memory, and its vCPU's page.
    assertTrue(during.mappedKib() > before.mappedKib() + TestMachines.MEMORY / 1024);
    assertNotEquals(before.threads(), during.threads());
    machine.close();
  }
}
