// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HypervisorException;
import dev.nacelle.Stage;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.internal.OpenFiles;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.device.DeviceResources;
import dev.nacelle.kvm.device.virtio.block.HangingDisk;
import dev.nacelle.kvm.sys.Kvm;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

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
        VmExit.of(Reason.CLOSED, "the virtual machine test was closed"),
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
    assertTrue(machine.statistics().firstRunNanoTime().isEmpty());
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
    long first = machine.statistics().firstRunNanoTime().orElseThrow();
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
    KvmVirtualMachine ending = machines.create(poweringOff);
    CompletableFuture<Void> refused =
        ending
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
    ending.start();
    asking.await();
    machines.hypervisor().close();
    refused.get();
  }

  @Test
  void closesInTimeAlthoughAMachineIsBeingMadeOfAFileThatHangs() throws Exception {
    useAndClose();
    Resources before = Resources.now();
    CountDownLatch reading = new CountDownLatch(1);
    CountDownLatch answer = new CountDownLatch(1);
    try (LogRecords log = LogRecords.of("dev.nacelle.kvm.KvmHypervisor")) {
      KvmHypervisor impatient = new KvmHypervisor(Kvm.open(), Duration.ofMillis(50));
      MachineSpec spec =
          new MachineSpec(
              "stuck",
              TestMachines.MEMORY,
              1,
              1024,
              (memory, hardware) -> {
                reading.countDown();
                await(answer);
                return spinning.load(memory, hardware);
              },
              List.of());
      FutureTask<?> refused =
          new FutureTask<>(
              () -> assertThrows(IllegalStateException.class, () -> impatient.create(spec)));
      // Not one of the JDK's pool, which would be there afterwards.
      Thread maker = new Thread(refused);
      maker.start();
      reading.await();
      impatient.close();
      assertTrue(
          log.messages().get(0).contains("do not answer: 1 virtual machines"),
          () -> "said: " + log.messages());
      assertThrows(IllegalStateException.class, () -> impatient.create(spec));
      answer.countDown();
      refused.get();
      maker.join();
    }
    assertEquals(before, Resources.now());
  }

  /** A device with an event loop of its own, whose work is stuck until it is let go. */
  private static final class StuckDisk extends RecordingDevice implements DeviceFactory {
    private final CountDownLatch stuck = new CountDownLatch(1);
    private final CountDownLatch answer = new CountDownLatch(1);
    private final CompletableFuture<Thread> thread = new CompletableFuture<>();

    Thread itsThread() {
      return thread.join();
    }

    @Override
    public AttachedDevice create(DeviceResources resources) {
      assertTrue(
          resources.execute(
              () -> {
                thread.complete(Thread.currentThread());
                stuck.countDown();
                await(answer);
                record("read " + resources.memory().getInt(BareGuest.REAL_MODE_CODE));
              }));
      return this;
    }

    @Override
    public boolean waits() {
      return true;
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void endsAndClosesInTimeAlthoughADiskHangs() throws Exception {
    try (KvmHypervisor impatient = new KvmHypervisor(Kvm.open(), Duration.ofMillis(50));
        LogRecords log = LogRecords.of("dev.nacelle.kvm.Teardown")) {
      useAndClose();
      Resources before = Resources.now();
      StuckDisk disk = new StuckDisk();
      KvmVirtualMachine machine =
          impatient.create(
              new MachineSpec("stuck", TestMachines.MEMORY, 2, 1024, poweringOff, List.of(disk)));
      disk.stuck.await();
      machine.start();
      assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
      machine.close();
      machine.close();
      assertEquals(1, log.messages().size(), () -> "said once: " + log.messages());
      String message = log.messages().get(0);
      assertTrue(message.contains("virtual machine stuck"), message);
      assertTrue(message.contains("nacelle-stuck-io1"), message);

      // The guest's memory is there for as long as the disk may write to it.
      disk.answer.countDown();
      assertTrue(disk.next().startsWith("read "));
      assertEquals("close", disk.next());
      disk.itsThread().join();
      impatient.close();
      assertEquals(before.mappedKib(), Resources.now().mappedKib());
      assertEquals(before.threads(), Resources.now().threads());
    }
  }

  /** Makes the disk at 0xd0001000 ready, without a queue, and resets it for ever. */
  private static final String RESETTING =
      "bf 00 10 00 d0" // mov $0xd0001000, %edi
          + "c7 47 70 01 00 00 00" // movl $1, 0x70(%rdi): ACKNOWLEDGE
          + "c7 47 70 03 00 00 00" // DRIVER
          + "c7 47 24 01 00 00 00" // the upper features
          + "c7 47 20 01 00 00 00" // VIRTIO_F_VERSION_1
          + "c7 47 70 0b 00 00 00" // FEATURES_OK
          + "c7 47 70 0f 00 00 00" // DRIVER_OK
          + "c7 47 70 00 00 00 00" // movl $0, 0x70(%rdi): reset
          + "eb f7"; // jmp to the reset

  @Test
  void endsAndClosesInTimeAlthoughAVcpuResetsADiskThatHangs(@TempDir Path directory)
      throws Exception {
    HangingDisk disk = new HangingDisk(Files.write(directory.resolve("image"), new byte[4096]));
    try (KvmHypervisor impatient = new KvmHypervisor(Kvm.open(), Duration.ofMillis(1000));
        LogRecords log = LogRecords.of("dev.nacelle.kvm.Teardown")) {
      KvmVirtualMachine machine =
          impatient.create(
              new MachineSpec(
                  "hung",
                  TestMachines.MEMORY,
                  2,
                  1024,
                  BareGuest.longMode(RESETTING),
                  List.of(TestMachines.factory(disk))));
      machine.start();
      VmExit exit = machine.exit().get();
      assertEquals(Reason.HOST_ERROR, exit.reason());
      assertTrue(exit.detail().contains("has not answered for 50 ms"), exit::detail);
      machine.close();
      // No processor hangs with it: the end is told when they are out of the guest.
      assertTrue(log.messages().get(0).contains("nacelle-hung-io1"), () -> "" + log.messages());
      disk.answer();
    }
  }

  @Test
  void closesTheOthersWithTheHypervisorAlthoughADiskHangs() throws Exception {
    StuckDisk disk = new StuckDisk();
    try (LogRecords log = LogRecords.of("dev.nacelle.kvm.Teardown")) {
      KvmHypervisor impatient = new KvmHypervisor(Kvm.open(), Duration.ofMillis(50));
      List<KvmVirtualMachine> all = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        all.add(
            impatient.create(
                new MachineSpec(
                    "m" + i,
                    TestMachines.MEMORY,
                    1,
                    1024,
                    spinning,
                    i == 1 ? List.of(disk) : List.of())));
      }
      disk.stuck.await();
      all.forEach(KvmVirtualMachine::start);
      impatient.close();
      for (KvmVirtualMachine machine : all) {
        assertEquals(Reason.CLOSED, machine.exit().get().reason());
      }
      assertTrue(
          log.messages().stream().anyMatch(m -> m.contains("nacelle-m1-io1")),
          () -> "said: " + log.messages());
      disk.answer.countDown();
      assertTrue(disk.next().startsWith("read "));
      disk.itsThread().join();
      impatient.close();
    }
  }

  @Test
  void closesAHundredMachinesTogetherAndLeavesNothing() throws Exception {
    useAndClose();
    Resources before = Resources.now();
    KvmHypervisor many = new KvmHypervisor(Kvm.open());
    List<KvmVirtualMachine> all = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      KvmVirtualMachine machine =
          many.create(
              new MachineSpec(
                  "m" + i, 1 << 20, 1, 1024, BareGuest.realMode("f4 eb fd"), List.of()));
      if (i % 2 == 0) {
        machine.start();
      }
      all.add(machine);
    }
    many.close();
    for (KvmVirtualMachine machine : all) {
      assertEquals(Reason.CLOSED, machine.exit().getNow(null).reason());
    }
    assertEquals(before, Resources.now());
  }

  @Test
  void closeEachOtherFromTheirExits() throws Exception {
    for (int round = 0; round < 10; round++) {
      KvmVirtualMachine one = machines.start(spinning);
      KvmVirtualMachine other = machines.start(spinning);
      CountDownLatch both = new CountDownLatch(2);
      CompletableFuture<Void> closedOther = closeAtTheExitOf(one, other, both);
      CompletableFuture<Void> closedOne = closeAtTheExitOf(other, one, both);
      Thread first = new Thread(one::close);
      Thread second = new Thread(other::close);
      first.start();
      second.start();
      first.join();
      second.join();
      closedOther.get();
      closedOne.get();
    }
  }

  private static CompletableFuture<Void> closeAtTheExitOf(
      KvmVirtualMachine ended, KvmVirtualMachine closed, CountDownLatch both) {
    return ended
        .exit()
        .thenAccept(
            exit -> {
              both.countDown();
              await(both);
              closed.close();
            });
  }

  @Test
  void takesNothingOverFromTheThreadThatMakesIt() throws Exception {
    List<String> inheritors = new CopyOnWriteArrayList<>();
    InheritableThreadLocal<String> local =
        new InheritableThreadLocal<>() {
          @Override
          protected String childValue(String value) {
            inheritors.add(value);
            return value;
          }
        };
    ClassLoader loader = new URLClassLoader(new URL[0]);
    ThreadGroup group = new ThreadGroup("caller");
    List<Thread> made = new CopyOnWriteArrayList<>();
    StuckDisk disk = new StuckDisk();
    disk.answer.countDown();
    Thread caller =
        new Thread(
            group,
            () -> {
              local.set("caller's");
              machines.create(2, spinning, disk).start();
              Thread.getAllStackTraces().keySet().stream()
                  .filter(thread -> thread.getName().startsWith("nacelle-test-"))
                  .forEach(made::add);
            });
    caller.setContextClassLoader(loader);
    caller.start();
    caller.join();
    assertEquals(4, made.size(), made::toString);
    assertEquals(List.of(), inheritors);
    for (Thread thread : made) {
      assertNotSame(loader, thread.getContextClassLoader());
      assertNotSame(group, thread.getThreadGroup());
      assertTrue(thread.isDaemon());
    }
  }

  @Test
  void memoryIsThereUntilThePayloadIsLoadedAlthoughTheMachineCannotBeBuilt() {
    CountDownLatch failed = new CountDownLatch(1);
    AtomicLong written = new AtomicLong();
    assertThrows(
        ArithmeticException.class,
        () ->
            machines.create(
                1,
                (memory, hardware) -> {
                  await(failed);
                  for (long gpa = 0; gpa < TestMachines.MEMORY; gpa += Long.BYTES) {
                    memory.putLong(gpa, gpa);
                    written.addAndGet(Long.BYTES);
                  }
                  return spinning.load(memory, hardware);
                },
                resources -> {
                  failed.countDown();
                  throw new ArithmeticException("of a test");
                }));
    assertEquals(TestMachines.MEMORY, written.get());
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
    assertTrue(e.remedy().orElseThrow().contains("ulimit -u"), e::getMessage);
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
    ended.closeWholly();
    KvmVirtualMachine running = machines.create(2, spinning, factory);
    running.start();
    running.closeWholly();
    machines.create(spinning, factory).closeWholly();

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
  void hasGivenMemoryBackWhenCloseReturns() throws Exception {
    useAndClose();
    long before = Resources.now().mappedKib();
    for (int i = 0; i < 3; i++) {
      KvmVirtualMachine machine = machines.start(64 << 20, spinning);
      assertTrue(Resources.now().mappedKib() - before >= 64 << 10);
      machine.close();
      // Nor is there that of the vCPU.
      assertEquals(before, Resources.now().mappedKib());
    }
  }

  @Test
  void leavesFewMachinesOfKvmToBeClosedAndNoneWithTheHypervisor() throws Exception {
    useAndClose();
    Resources before = Resources.now();
    KvmHypervisor hypervisor = new KvmHypervisor(Kvm.open());
    for (int i = 0; i < 2 * KvmHypervisor.MAX_UNAWAITED; i++) {
      hypervisor.create(new MachineSpec("m" + i, 1 << 20, 1, 1024, spinning, List.of())).close();
      long left =
          OpenFiles.targets().stream().filter(file -> file.toString().contains("kvm-vm")).count();
      assertTrue(left <= KvmHypervisor.MAX_UNAWAITED, () -> left + " machines");
    }
    hypervisor.close();
    assertEquals(before, Resources.now());
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
