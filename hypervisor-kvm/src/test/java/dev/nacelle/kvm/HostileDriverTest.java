// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static dev.nacelle.kvm.DriverProgram.AVAILABLE;
import static dev.nacelle.kvm.DriverProgram.DATA;
import static dev.nacelle.kvm.DriverProgram.DESCRIPTORS;
import static dev.nacelle.kvm.DriverProgram.QUEUE_NOTIFY;
import static dev.nacelle.kvm.DriverProgram.QUEUE_READY;
import static dev.nacelle.kvm.DriverProgram.QUEUE_SEL;
import static dev.nacelle.kvm.DriverProgram.QUEUE_SIZE;
import static dev.nacelle.kvm.DriverProgram.STATUS;
import static dev.nacelle.kvm.DriverProgram.USED;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.boot.Payload;
import dev.nacelle.kvm.device.AttachedDevice;
import dev.nacelle.kvm.memory.GuestMemory;
import dev.nacelle.spi.VmSpec.Disk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Drivers that break the rules, in guests on this host's KVM: each ends its own machine with an
 * error that says how, while another machine runs on; or it is let go on where it harms nobody.
 */
@Timeout(60)
class HostileDriverTest {
  private static final int VSOCK = 0;
  private static final int ENTROPY = 1;
  private static final int BLOCK = 2;

  /** The socket device's queue of packets from the guest. */
  private static final int TX = 1;

  private static final int NEXT = 1;
  private static final int WRITE = 2;
  private static final int INDIRECT = 4;
  private static final int F_INDIRECT = 1 << 28;
  private static final int F_EVENT_IDX = 1 << 29;
  private static final int STATUS_OF_REQUEST = DATA + 0x1000;
  private static final int END = (int) TestMachines.MEMORY;

  @RegisterExtension final TestMachines machines = new TestMachines();
  @TempDir Path directory;

  private static DriverProgram vsock() {
    return new DriverProgram(VSOCK);
  }

  private static DriverProgram liveVsock() {
    return vsock().live(TX, F_INDIRECT | F_EVENT_IDX);
  }

  static Stream<Arguments> faults() {
    String queue = "virtio-vsock queue 1: ";
    return Stream.of(
        Arguments.of(
            "queue size of 0",
            vsock().negotiate(0).queue(TX, 0, DESCRIPTORS, AVAILABLE, USED).write(STATUS, 0xf),
            queue + "size 0 is not a power of two up to 32768"),
        Arguments.of(
            "queue size that is no power of two",
            vsock().negotiate(0).queue(TX, 7, DESCRIPTORS, AVAILABLE, USED).write(STATUS, 0xf),
            queue + "size 7 is not a power of two up to 32768"),
        Arguments.of(
            "queue size above the maximum",
            vsock().negotiate(0).queue(TX, 256, DESCRIPTORS, AVAILABLE, USED).write(STATUS, 0xf),
            queue + "size 256 is more than QueueSizeMax, 128"),
        Arguments.of(
            "queue outside of RAM",
            vsock().negotiate(0).queue(TX, 8, DESCRIPTORS, END - 4, USED).write(STATUS, 0xf),
            queue + "available ring at 0x1ffffc is not in RAM"),
        Arguments.of(
            "misaligned queue",
            vsock().negotiate(0).queue(TX, 8, DESCRIPTORS + 8, AVAILABLE, USED).write(STATUS, 0xf),
            queue + "descriptor table at 0x100008 is not aligned to 16"),
        Arguments.of(
            "available index that jumps",
            liveVsock().available(TX, 9),
            queue + "available index 9 is 9 ahead of 0 in a queue of 8 with 0 buffers in use"),
        Arguments.of(
            "head that is no descriptor",
            liveVsock().offer(TX, 8),
            queue + "available ring names descriptor 8 of 8"),
        Arguments.of(
            "next that is no descriptor",
            liveVsock().descriptor(0, DATA, 44, NEXT, 8).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: next is 8 of 8"),
        Arguments.of(
            "loop in a chain",
            liveVsock()
                .descriptor(0, DATA, 44, NEXT, 1)
                .descriptor(1, DATA, 44, NEXT, 0)
                .offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: the chain is longer than the queue, 8"),
        Arguments.of(
            "address and length that overflow",
            liveVsock().descriptor(0, -16, 44, 0, 0).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: 44 bytes at 0xfffffffffffffff0"),
        Arguments.of(
            "descriptor beyond RAM",
            liveVsock().descriptor(0, END - 8, 44, 0, 0).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: 44 bytes at 0x1ffff8 are not all RAM"),
        Arguments.of(
            "descriptor on a device",
            liveVsock().descriptor(0, 0xd000_0000L, 44, 0, 0).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: 44 bytes at 0xd0000000 are not all RAM"),
        Arguments.of(
            "descriptor of the greatest length",
            liveVsock().descriptor(0, 0, -1, 0, 0).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: 4294967295 bytes at 0x0 are not all RAM"),
        Arguments.of(
            "readable after writable",
            liveVsock()
                .descriptor(0, DATA, 44, NEXT | WRITE, 1)
                .descriptor(1, DATA, 44, 0, 0)
                .offer(TX, 0),
            queue + "descriptor 1 of the chain at 0: device-readable after device-writable"),
        Arguments.of(
            "nested indirect table",
            liveVsock()
                .descriptor(0, DATA, 16, INDIRECT, 0)
                .descriptorAt(DATA, DATA, 16, INDIRECT, 0)
                .offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: indirect in an indirect table"),
        Arguments.of(
            "indirect table of a length that is none",
            liveVsock().descriptor(0, DATA, 17, INDIRECT, 0).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: an indirect table of 17 bytes"),
        Arguments.of(
            "indirect table that was not negotiated",
            vsock().live(TX, 0).descriptor(0, DATA, 16, INDIRECT, 0).offer(TX, 0),
            queue + "descriptor 0 of the chain at 0: indirect, which was not negotiated"),
        Arguments.of(
            "disk request without a status",
            new DriverProgram(BLOCK).live(0, 0).descriptor(0, DATA, 16, 0, 0).offer(0, 0),
            "virtio-blk scratch queue 0: a request without room for its status"));
  }

  /** A guest that lives tells so, again and again. */
  private static final class Heartbeat implements AttachedDevice {
    private long beats;

    @Override
    public long read(long offset, int size) {
      return 0;
    }

    @Override
    public synchronized void write(long offset, int size, long value) {
      beats++;
      notifyAll();
    }

    synchronized void awaitBeat() throws InterruptedException {
      long now = beats;
      // The write that was under way does not count.
      while (beats < now + 2) {
        wait();
      }
    }

    @Override
    public void close() {}
  }

  private KvmVirtualMachine startHealthy(Heartbeat heartbeat) {
    return machines.start(
        BareGuest.longMode(
            "bf 00 10 00 d0", // mov $0xd0001000, %edi
            "c7 07 01 00 00 00", // movl $1, (%rdi)
            "eb f8"), // jmp to movl
        resources -> heartbeat);
  }

  private DeviceFactory disk(boolean readOnly) {
    Path image = directory.resolve("image");
    try {
      Files.write(image, new byte[1 << 16]);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
    return DeviceFactory.disk(Disk.of("scratch", image, readOnly));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("faults")
  void endsTheMachineOfTheDriverAndNoOther(String fault, DriverProgram program, String message)
      throws Exception {
    assertEndsAlone(TestMachines.MEMORY, program, message);
  }

  static Stream<Arguments> harmless() {
    String ready = "virtio-vsock: a queue changed while it was ready";
    String none = "virtio-vsock: a queue used that there is not";
    String status = "virtio-vsock: a device status with bits taken back or unknown";
    String packet = "virtio-vsock: a packet that is not as long as it says";
    return Stream.of(
        Arguments.of(
            "queue size changed after activation", liveVsock().write(QUEUE_SIZE, 16), ready),
        Arguments.of(
            "queue address changed after activation",
            liveVsock().write(DriverProgram.QUEUE_DEVICE, 0),
            ready),
        Arguments.of(
            "queue taken away and cleared", liveVsock().unsetQueue(TX).write(QUEUE_NOTIFY, TX), ""),
        Arguments.of(
            "selected queue out of range",
            vsock().negotiate(0).write(QUEUE_SEL, 3).write(QUEUE_SIZE, 8),
            none),
        Arguments.of("notified queue out of range", liveVsock().write(QUEUE_NOTIFY, 3), none),
        Arguments.of(
            "queue made ready after activation",
            liveVsock().write(QUEUE_SEL, 0).write(QUEUE_READY, 1),
            "virtio-vsock: a queue made ready after DRIVER_OK"),
        Arguments.of("status bit taken back", liveVsock().write(STATUS, 3), status),
        Arguments.of(
            "configuration written",
            liveVsock().write(0x100, 1),
            "virtio-vsock: a write to the configuration space"),
        Arguments.of(
            "empty descriptor",
            liveVsock().descriptor(0, -1, 0, 0, 0).offer(TX, 0).thenAwait(USED + 2, 1),
            packet),
        Arguments.of(
            "packet shorter than its header",
            liveVsock().descriptor(0, DATA, 43, 0, 0).offer(TX, 0).thenAwait(USED + 2, 1),
            packet),
        Arguments.of(
            "packet longer than its buffer",
            liveVsock()
                .store(DATA, 3)
                .store(DATA + 8, 2)
                .store(DATA + 24, -1)
                .descriptor(0, DATA, 44, 0, 0)
                .offer(TX, 0)
                .thenAwait(USED + 2, 1),
            ""),
        Arguments.of(
            "random bytes wanted in a readable buffer",
            new DriverProgram(ENTROPY)
                .live(0, 0)
                .descriptor(0, DATA, 64, 0, 0)
                .offer(0, 0)
                .thenAwait(USED + 2, 1),
            "virtio-rng: a buffer of the other direction"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("harmless")
  void letsADriverGoOnThatHarmsNobody(String what, DriverProgram program, String counted)
      throws Exception {
    KvmVirtualMachine machine =
        machines.start(program.thenPowerOff(), DeviceFactory.entropy(null), disk(false));
    VmExit exit = machine.exit().get();
    assertEquals(Reason.POWER_OFF, exit.reason(), exit.detail());
    assertEquals(
        counted.isEmpty() ? Map.of() : Map.of(counted, 1L), machine.statistics().ignored());
  }

  /** As Rust's virtio-drivers does when a driver is dropped, and made anew. */
  @Test
  void serveADriverThatTidiesUpAndComesAgain() throws Exception {
    DriverProgram program = new DriverProgram(ENTROPY);
    for (int i = 0; i < 3; i++) {
      program
          .store(AVAILABLE, 0)
          .store(USED, 0)
          .store(DATA, 0)
          .live(0, 0)
          .descriptor(0, DATA, 64, WRITE, 0)
          .offer(0, 0)
          .thenAwait(USED + 2, 1)
          .unsetQueue(0)
          .write(STATUS, 0);
    }
    KvmVirtualMachine machine =
        machines.start(program.thenPowerOff(), DeviceFactory.entropy(null), disk(false));
    VmExit exit = machine.exit().get();
    assertEquals(Reason.POWER_OFF, exit.reason(), exit.detail());
    assertEquals(Map.of(), machine.statistics().ignored());
  }

  /** In the host's memory there is no hole: RAM from 4 GiB on follows that below 3 GiB. */
  static Stream<Arguments> faultsAtTheHole() {
    int end = (int) GuestMemory.HOLE_START;
    return Stream.of(
        Arguments.of(
            "descriptor into the hole",
            liveVsock().descriptor(0, GuestMemory.HOLE_START - 8, 44, 0, 0).offer(TX, 0),
            "descriptor 0 of the chain at 0: 44 bytes at 0xbffffff8 are not all RAM"),
        Arguments.of(
            "queue into the hole",
            vsock().negotiate(0).queue(TX, 8, DESCRIPTORS, end - 4, USED).write(STATUS, 0xf),
            "available ring at 0xbffffffc is not in RAM"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("faultsAtTheHole")
  void endsTheMachineOfADriverThatReachesIntoTheHole(
      String fault, DriverProgram program, String message) throws Exception {
    assertEndsAlone(5L << 30, program, "virtio-vsock queue 1: " + message);
  }

  private void assertEndsAlone(long memory, DriverProgram program, String message)
      throws Exception {
    Heartbeat heartbeat = new Heartbeat();
    KvmVirtualMachine healthy = startHealthy(heartbeat);
    heartbeat.awaitBeat();
    Resources before = Resources.now();

    KvmVirtualMachine hostile =
        machines.start(memory, program, DeviceFactory.entropy(null), disk(false));
    VmExit exit = hostile.exit().get();
    assertEquals(Reason.GUEST_FAULT, exit.reason(), exit.detail());
    assertTrue(exit.detail().contains(message), exit.detail());
    hostile.closeWholly();

    assertEquals(before, Resources.now());
    heartbeat.awaitBeat();
    healthy.close();
    assertEquals(Reason.CLOSED, healthy.exit().get().reason());
  }

  @Test
  void serveTheSameDriverWhenItKeepsTheRules() throws Exception {
    assertEquals(0, runUntilUsed(writingASector(), false).getByte(STATUS_OF_REQUEST), "OK");
    byte[] written = Arrays.copyOfRange(imageBytes(), 3 * 512, 3 * 512 + 4);
    assertEquals("[120, 86, 52, 18]", Arrays.toString(written));
  }

  @Test
  void doNotLetADriverWriteToAReadOnlyDisk() throws Exception {
    assertEquals(1, runUntilUsed(writingASector(), true).getByte(STATUS_OF_REQUEST), "IOERR");
    assertArrayEquals(new byte[1 << 16], imageBytes());
  }

  private static DriverProgram writingASector() {
    return new DriverProgram(BLOCK)
        .live(0, 0)
        .store(DATA, 1) // VIRTIO_BLK_T_OUT
        .store(DATA + 8, 3) // sector
        .store(DATA + 16, 0x12345678)
        .descriptor(0, DATA, 16 + 512, NEXT, 1)
        .descriptor(1, STATUS_OF_REQUEST, 1, WRITE, 0)
        .offer(0, 0);
  }

  private byte[] imageBytes() throws IOException {
    return Files.readAllBytes(directory.resolve("image"));
  }

  @Test
  void fillNoMoreThanTheirLimitOfABufferThatIsAllOfRam() throws Exception {
    // From DATA to the end, and then what the guest itself needs.
    GuestMemory memory =
        runUntilUsed(
            new DriverProgram(ENTROPY)
                .live(0, 0)
                .descriptor(0, DATA, END - DATA, WRITE | NEXT, 1)
                .descriptor(1, 0, DATA, WRITE, 0)
                .offer(0, 0),
            false);
    assertEquals(64 << 10, memory.getInt(USED + 8), "used.len");
    assertNotEquals(0, memory.getLong(DATA + (64 << 10) - 8));
    assertEquals(0, memory.getLong(DATA + (64 << 10)));
  }

  /**
   * Runs a driver's program until its first buffer comes back.
   *
   * @return the guest's memory, which is there until the machine is closed after the test
   */
  private GuestMemory runUntilUsed(DriverProgram program, boolean readOnlyDisk) throws Exception {
    AtomicReference<GuestMemory> loaded = new AtomicReference<>();
    Payload payload =
        (memory, hardware) -> {
          loaded.set(memory);
          return program.thenAwait(USED + 2, 1).thenPowerOff().load(memory, hardware);
        };
    KvmVirtualMachine machine =
        machines.start(payload, DeviceFactory.entropy(null), disk(readOnlyDisk));
    assertEquals(Reason.POWER_OFF, machine.exit().get().reason());
    return loaded.get();
  }
}
