// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.kvm.LogRecords;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import dev.nacelle.kvm.sys.Errno;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What becomes of requests when the host's disk fails, does less than asked, or does not answer.
 */
@Timeout(60)
class DiskFaultsTest {
  private static final int IN = 0;
  private static final int OUT = 1;
  private static final int FLUSH = 4;
  private static final int DISCARD = 11;
  private static final int WRITE_ZEROES = 13;
  private static final byte OK = 0;
  private static final byte IO_ERROR = 1;
  private static final byte UNTOUCHED = 77;
  private static final int KIB = 1024;

  /** Without it, the driver gets every interrupt that the device has for it. */
  private static final long F_EVENT_IDX = 1L << 29;

  private static final int SIZE = 4096 * KIB;

  @TempDir Path directory;
  private final FakeDeviceResources resources = new FakeDeviceResources(16 << 20);
  private Path image;
  private ScriptedEngine engine;
  private BlockDevice device;
  private DriverFixture driver;
  private DriverQueue queue;

  @BeforeEach
  void start() throws IOException {
    byte[] content = new byte[SIZE];
    Arrays.fill(content, (byte) 7);
    image = Files.write(directory.resolve("image"), content);
    engine = new ScriptedEngine(image);
    device = new BlockDevice(resources, engine, Disk.of(engine.image(), false, "disk"), null, 1);
    driver = new DriverFixture(resources, new MmioTransport(device));
    activate(driver.offeredFeatures());
  }

  private void activate(long features) {
    driver.negotiate(features);
    queue = driver.configure(0, 256);
    driver.driverOk();
  }

  @AfterEach
  void close() {
    engine.hangs = false;
    device.close();
    resources.close();
  }

  private static byte[] header(int type, long sector) {
    return ByteBuffer.allocate(16)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putInt(type)
        .putInt(0)
        .putLong(sector)
        .array();
  }

  private byte[] range(long sector, int sectors, int flags) {
    return ByteBuffer.allocate(16)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(sector)
        .putInt(sectors)
        .putInt(flags)
        .array();
  }

  /** Offers a request, rings, and gives its status, which may not be there yet. */
  private Segment offer(byte[] header, Segment... data) {
    Segment status = prepare(header, data);
    queue.kick();
    return status;
  }

  private Segment prepare(byte[] header, Segment... data) {
    Segment[] segments = new Segment[data.length + 2];
    segments[0] = queue.readable(header);
    System.arraycopy(data, 0, segments, 1, data.length);
    Segment status = new Segment(driver.allocate(new byte[] {UNTOUCHED}), 1, true);
    segments[data.length + 1] = status;
    queue.offer(segments);
    return status;
  }

  private byte at(Segment status) {
    return driver.memory().getByte(status.address());
  }

  @ParameterizedTest
  @ValueSource(ints = {Errno.EIO, Errno.ENOSPC, Errno.EFBIG, Errno.ENOMEM})
  void failuresOfTheHostAreErrorsOfTheDisk(int errno) {
    for (int i = 0; i < 5; i++) {
      engine.results.add(-errno);
    }
    assertEquals(IO_ERROR, at(offer(header(IN, 0), queue.writable(512))));
    assertEquals(IO_ERROR, at(offer(header(OUT, 0), queue.readable(new byte[512]))));
    assertEquals(IO_ERROR, at(offer(header(FLUSH, 0))));
    assertEquals(IO_ERROR, at(offer(header(DISCARD, 0), queue.readable(range(0, 8, 0)))));
    assertEquals(IO_ERROR, at(offer(header(WRITE_ZEROES, 0), queue.readable(range(0, 8, 0)))));
    assertEquals(OK, at(offer(header(IN, 0), queue.writable(512))), "and the next is served");
  }

  @ParameterizedTest
  @CsvSource({
    "0,   be read at 512: the file became shorter",
    "-28, be read at 512: ENOSPC (no space left)"
  })
  void firstFailureOfTheHostIsLogged(int result, String told) {
    try (LogRecords records = LogRecords.of(BlockDevice.class.getName())) {
      assertEquals(IO_ERROR, at(offer(header(IN, SIZE), queue.writable(512))));
      assertEquals(List.of(), records.messages(), "what the guest does wrong is not");
      engine.results.addAll(List.of(result, -Errno.EIO));
      assertEquals(IO_ERROR, at(offer(header(IN, 1), queue.writable(512))));
      assertEquals(IO_ERROR, at(offer(header(FLUSH, 0))));
      assertEquals(
          List.of(
              "virtio-blk disk: "
                  + image
                  + " cannot "
                  + told
                  + ". The guest gets an I/O error; what else fails of this disk is not logged"),
          records.messages());
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {Errno.EINTR, Errno.EAGAIN})
  void whatTheHostInterruptsIsDoneAgain(int errno) {
    engine.results.addAll(List.of(-errno, -errno));
    Segment data = queue.writable(512);
    assertEquals(OK, at(offer(header(IN, 0), data)));
    assertEquals(3, engine.steps.size());
    assertEquals(7, driver.memory().getByte(data.address() + 511));
  }

  @Test
  void whatTheHostInterruptsForEverFails() {
    for (int i = 0; i < 100; i++) {
      engine.results.add(-Errno.EAGAIN);
    }
    assertEquals(IO_ERROR, at(offer(header(FLUSH, 0))));
  }

  /** Offers so many requests at a time, and gives how many interrupts came before each step. */
  private List<Integer> interruptsBeforeSteps(int... types) {
    activate(driver.offeredFeatures() & ~F_EVENT_IDX);
    for (int type : types) {
      Segment ignored =
          switch (type) {
            case IN -> prepare(header(IN, 0), queue.writable(512));
            case OUT -> prepare(header(OUT, 0), queue.readable(new byte[512]));
            default -> prepare(header(type, 0));
          };
    }
    List<Integer> interrupts = new ArrayList<>();
    engine.before = step -> interrupts.add(resources.takeInterrupts());
    int ignored = resources.takeInterrupts();
    queue.kick();
    assertEquals(types.length, queue.untaken());
    return interrupts;
  }

  @Test
  void theDriverIsToldOnceOfWhatEndsTogether() {
    assertEquals(Collections.nCopies(40, 0), interruptsBeforeSteps(new int[40]), "reads");
    assertEquals(1, resources.takeInterrupts());
  }

  @Test
  void theDriverIsToldOnceOfWritesThatEndTogether() {
    assertEquals(List.of(0, 0, 0), interruptsBeforeSteps(OUT, OUT, OUT));
    assertEquals(1, resources.takeInterrupts());
  }

  @Test
  void whatHasEndedDoesNotWaitForAWriteThatTheHostMayHoldUp() {
    assertEquals(
        List.of(0, 0, 1, 0, 0, 0, 1), interruptsBeforeSteps(IN, IN, OUT, OUT, IN, IN, FLUSH));
    assertEquals(1, resources.takeInterrupts());
  }

  @Test
  void theDriverIsToldOnceATenthOfAMillisecondHasGoneBy() {
    activate(driver.offeredFeatures() & ~F_EVENT_IDX);
    for (int i = 0; i < 5; i++) {
      Segment ignored = prepare(header(IN, 0), queue.writable(512));
    }
    List<Integer> interrupts = new ArrayList<>();
    engine.before =
        step -> {
          interrupts.add(resources.takeInterrupts());
          resources.advance(Duration.ofNanos(50_001));
        };
    int ignored = resources.takeInterrupts();
    queue.kick();
    assertEquals(List.of(0, 0, 1, 0, 1), interrupts);
    assertEquals(1, resources.takeInterrupts());
  }

  @Test
  void shortTransfersAreGoneOnWith() throws IOException {
    engine.results.addAll(List.of(100, 412 + 200));
    assertEquals(
        OK,
        at(offer(header(OUT, 2), queue.readable(new byte[512]), queue.readable(new byte[512]))));
    assertEquals(List.of("WRITE 1024+1024", "WRITE 1124+924", "WRITE 1736+312"), engine.steps);
    byte[] expected = new byte[SIZE];
    Arrays.fill(expected, (byte) 7);
    Arrays.fill(expected, 1736, 2048, (byte) 0);
    assertArrayEquals(expected, Files.readAllBytes(image));
  }

  @Test
  void aRequestIsDoneInStepsOfAMebibyte() {
    Segment large = new Segment(driver.allocate(3 << 20, 4096), 3 << 20, true);
    assertEquals(OK, at(offer(header(IN, 1), large)));
    assertEquals(
        List.of("READ 512+1048576", "READ 1049088+1048576", "READ 2097664+1048576"), engine.steps);
  }

  @Test
  void withoutAFlushEachChangeIsSyncedBeforeItIsCompleted() {
    activate(driver.offeredFeatures() & ~(1L << 9));
    engine.steps.clear();
    assertEquals(OK, at(offer(header(OUT, 0), queue.readable(new byte[512]))));
    assertEquals(OK, at(offer(header(WRITE_ZEROES, 0), queue.readable(range(8, 8, 1)))));
    assertEquals(OK, at(offer(header(IN, 0), queue.writable(512))));
    assertEquals(
        List.of("WRITE 0+512", "SYNC", "PUNCH 4096+4096", "SYNC", "READ 0+512"),
        engine.steps.stream().map(s -> s.startsWith("SYNC") ? "SYNC" : s).toList());
    engine.results.addAll(List.of(512, -Errno.EIO));
    assertEquals(
        IO_ERROR, at(offer(header(OUT, 0), queue.readable(new byte[512]))), "the sync failed");
  }

  @Test
  void zerosAreWrittenWhereTheHostHasNoCallForThem() throws IOException {
    int sectors = 5000;
    engine.results.addAll(List.of(-Errno.EOPNOTSUPP, -Errno.EOPNOTSUPP));
    assertEquals(
        OK,
        at(
            offer(
                header(WRITE_ZEROES, 0),
                queue.readable(range(3, sectors, 1)),
                queue.readable(range(6000, 1, 0)))));
    assertEquals("PUNCH 1536+2560000", engine.steps.get(0));
    assertEquals("ZERO 1536+2560000", engine.steps.get(1));
    assertEquals("WRITE 1536+1048576", engine.steps.get(2));
    byte[] expected = new byte[SIZE];
    Arrays.fill(expected, (byte) 7);
    Arrays.fill(expected, 3 * 512, (3 + sectors) * 512, (byte) 0);
    Arrays.fill(expected, 6000 * 512, 6001 * 512, (byte) 0);
    assertArrayEquals(expected, Files.readAllBytes(image));
  }

  @Test
  void aDiscardThatTheHostCannotDoIsNoError() {
    engine.results.add(-Errno.EOPNOTSUPP);
    assertEquals(
        OK,
        at(
            offer(
                header(DISCARD, 0),
                queue.readable(range(0, 8, 0)),
                queue.readable(range(16, 8, 0)))));
    assertEquals(List.of("PUNCH 0+4096", "PUNCH 8192+4096"), engine.steps);
  }

  @Test
  void anErrorOfTheHostsProgramTakesTheDeviceAwayAndComesOut() {
    engine.error = new OutOfMemoryError("heap");
    Segment[] segments = {queue.readable(header(IN, 0)), queue.writable(512), queue.writable(1)};
    queue.offer(segments);
    assertSame(engine.error, assertThrows(OutOfMemoryError.class, queue::kick));
    engine.error = null;
    queue.offer(segments);
    queue.kick();
    assertEquals(0, queue.untaken(), "the machine ends by this; nothing is done any more");
  }

  @Test
  void moreRequestsWaitWhileAllAreUnderWay() {
    engine.hangs = true;
    Segment[] statuses = new Segment[10];
    for (int i = 0; i < statuses.length; i++) {
      statuses[i] = offer(header(IN, i), queue.writable(512));
    }
    assertEquals(4, engine.steps.size());
    engine.hangs = false;
    driver.ring(0);
    assertEquals(10, queue.untaken());
    for (Segment status : statuses) {
      assertEquals(OK, at(status));
    }
  }

  @Test
  void aResetWaitsForWhatUsesGuestMemoryAndEndsTheMachineWhenThatHangs() {
    engine.hangs = true;
    offer(header(IN, 0), queue.writable(512));
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> driver.write(DriverFixture.STATUS, 0));
    assertEquals("virtio-blk disk: the host's disk has not answered for 1 ms", e.getMessage());
    assertEquals(1, engine.cancelled);
  }

  @Test
  void aQueueThatIsTakenAwayDoesNotGoBeforeItsRequests() {
    engine.hangs = true;
    offer(header(IN, 0), queue.writable(512));
    driver.write(DriverFixture.QUEUE_SEL, 0);
    assertThrows(IllegalStateException.class, () -> driver.write(DriverFixture.QUEUE_READY, 0));
  }

  @Test
  void aPauseWaitsForWhatUsesGuestMemory() {
    engine.hangs = true;
    Segment status = offer(header(IN, 0), queue.writable(512));
    engine.hangs = false;
    device.pause();
    assertEquals(OK, at(status));

    Segment next = offer(header(IN, 0), queue.writable(512));
    assertEquals(UNTOUCHED, at(next));
    device.resume();
    resources.runTasks();
    assertEquals(OK, at(next));
  }

  @Test
  void aPauseWaitsForNoFlushWhichIsAnsweredAfterIt() {
    engine.hangs = true;
    Segment flush = offer(header(FLUSH, 0));
    device.pause();
    engine.hangs = false;
    driver.ring(0);
    assertEquals(UNTOUCHED, at(flush));
    device.resume();
    resources.runTasks();
    assertEquals(OK, at(flush));
  }

  @Test
  void aPauseEndsTheMachineWhereThatHangs() {
    engine.hangs = true;
    offer(header(IN, 0), queue.writable(512));
    IllegalStateException e = assertThrows(IllegalStateException.class, () -> device.pause());
    assertEquals("virtio-blk disk: the host's disk has not answered for 1 ms", e.getMessage());
    assertEquals(0, engine.cancelled);
  }

  @Test
  void aFlushMayOutlastAReset() {
    engine.hangs = true;
    Segment old = offer(header(FLUSH, 0));
    activate(driver.offeredFeatures());
    for (int i = 0; i < 3; i++) {
      offer(header(FLUSH, 0));
    }
    Segment last = offer(header(IN, 0), queue.writable(512));
    assertEquals(4, engine.steps.size(), "the old one still has its place");
    engine.hangs = false;
    driver.ring(0);
    assertEquals(OK, at(last));
    assertEquals(4, queue.untaken());
    assertEquals(UNTOUCHED, at(old));
  }

  @Test
  void whatHangsAtTheEndStaysMappedAndOpen() throws IOException {
    engine.hangs = true;
    Segment data = queue.writable(512);
    offer(header(IN, 0), data);
    device.close();
    resources.close();
    assertFalse(engine.closed);
    // The disk answers after all: what it writes to is still there.
    engine.hangs = false;
    Request late = Objects.requireNonNull(engine.next());
    assertEquals(Status.OK, late.status());
    engine.close();
  }

  @Test
  void aHangingFlushAtTheEndKeepsTheImageButNotTheMemory() {
    engine.hangs = true;
    offer(header(FLUSH, 0));
    device.close();
    assertFalse(engine.closed);
    engine.hangs = false;
    engine.close();
  }
}
