// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.nacelle.internal.OpenFiles;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.sys.FileDescriptor;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BlockDeviceTest {
  private static final int SECTORS = 64;
  private static final int SECTOR = 512;
  private static final String SERIAL = "scratch-0123456789ab";

  private static final int IN = 0;
  private static final int OUT = 1;
  private static final int FLUSH = 4;
  private static final int GET_ID = 8;
  private static final int OK = 0;
  private static final int IO_ERROR = 1;
  private static final int UNSUPPORTED = 2;
  private static final long F_SEG_MAX = 1 << 2;
  private static final long F_READ_ONLY = 1 << 5;
  private static final long F_FLUSH = 1 << 9;

  @TempDir Path directory;
  private final FakeDeviceResources resources = new FakeDeviceResources(4 << 20);
  private byte[] content;
  private Path image;
  private BlockDevice device;
  private MmioTransport transport;
  private DriverFixture driver;
  private DriverQueue queue;

  /** What came back: the status byte, the used length, the data. */
  private record Answer(int status, int written, byte[] data) {}

  @BeforeEach
  void createImage() throws IOException {
    content = new byte[SECTORS * SECTOR];
    new Random(1).nextBytes(content);
    image = directory.resolve("image");
    Files.write(image, content);
    start(false, SERIAL);
  }

  private void start(boolean readOnly, String serial) {
    device = new BlockDevice(resources, FileDescriptor.open(image, !readOnly), readOnly, serial);
    transport = new MmioTransport(device);
    driver = new DriverFixture(resources, transport);
    driver.negotiate(driver.offeredFeatures());
    queue = driver.configure(0, 256);
    driver.driverOk();
  }

  /** Instead of the device that there is. */
  private void restart(boolean readOnly, String serial) {
    device.close();
    start(readOnly, serial);
  }

  @AfterEach
  void close() {
    device.close();
    resources.close();
  }

  private Segment header(int type, long sector) {
    return queue.readable(
        ByteBuffer.allocate(16)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putInt(type)
            .putInt(0)
            .putLong(sector)
            .array());
  }

  private Answer request(int type, long sector, Segment... data) {
    List<Segment> segments = new ArrayList<>();
    segments.add(header(type, sector));
    segments.addAll(List.of(data));
    Segment status = queue.writable(1);
    driver.memory().putByte(status.address(), (byte) 77);
    segments.add(status);
    queue.offer(segments.toArray(Segment[]::new));
    queue.kick();
    int written = queue.take().orElseThrow().written();
    ByteBuffer all = ByteBuffer.allocate(1 << 20);
    for (Segment segment : data) {
      all.put(driver.bytes(segment.address(), segment.length()));
    }
    return new Answer(
        driver.memory().getByte(status.address()),
        written,
        Arrays.copyOf(all.array(), all.position()));
  }

  private byte[] sectors(int first, int count) {
    return Arrays.copyOfRange(content, first * SECTOR, (first + count) * SECTOR);
  }

  @Test
  void describesTheDisk() {
    assertEquals(2, driver.read(0x008));
    assertEquals(SECTORS, transport.read(0x100, 8), "capacity");
    assertEquals(254, transport.read(0x10c, 4), "seg_max");
    long offered = driver.offeredFeatures();
    assertEquals(F_SEG_MAX | F_FLUSH, offered & (F_SEG_MAX | F_FLUSH | F_READ_ONLY));
    restart(true, SERIAL);
    assertEquals(F_READ_ONLY, driver.offeredFeatures() & F_READ_ONLY);
  }

  @Test
  void readsSectorsIntoSegmentsOfAnySize() {
    Answer answer =
        request(IN, 3, queue.writable(1), queue.writable(1000), queue.writable(2 * SECTOR - 1001));
    assertEquals(OK, answer.status());
    assertEquals(2 * SECTOR + 1, answer.written());
    assertArrayEquals(sectors(3, 2), answer.data());
  }

  @Test
  void readsWhereTheStatusSharesASegmentWithTheData() {
    Segment both = queue.writable(SECTOR + 1);
    queue.offer(header(IN, 5), both);
    queue.kick();
    assertEquals(SECTOR + 1, queue.take().orElseThrow().written());
    assertArrayEquals(sectors(5, 1), driver.bytes(both.address(), SECTOR));
    assertEquals(OK, driver.memory().getByte(both.address() + SECTOR));
  }

  @Test
  void writesSectorsFromSegmentsOfAnySize() throws IOException {
    byte[] data = new byte[3 * SECTOR];
    new Random(2).nextBytes(data);
    Answer answer =
        request(
            OUT,
            7,
            queue.readable(Arrays.copyOf(data, 10)),
            queue.readable(Arrays.copyOfRange(data, 10, 1000)),
            queue.readable(Arrays.copyOfRange(data, 1000, data.length)));
    assertEquals(OK, answer.status());
    assertEquals(1, answer.written());
    System.arraycopy(data, 0, content, 7 * SECTOR, data.length);
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void writesWhereTheHeaderSharesASegmentWithTheData() throws IOException {
    byte[] request = new byte[16 + SECTOR];
    request[0] = OUT;
    request[8] = 9;
    Arrays.fill(request, 16, request.length, (byte) 0x5a);
    queue.offer(
        queue.readable(Arrays.copyOf(request, 5)),
        queue.readable(Arrays.copyOfRange(request, 5, request.length)),
        queue.writable(1));
    queue.kick();
    Arrays.fill(content, 9 * SECTOR, 10 * SECTOR, (byte) 0x5a);
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void readsThroughAnIndirectTable() {
    Segment data = queue.writable(SECTOR);
    Segment status = queue.writable(1);
    queue.offerIndirect(header(IN, 1), data, status);
    queue.kick();
    assertArrayEquals(sectors(1, 1), driver.bytes(data.address(), SECTOR));
  }

  @Test
  void readsTheLastSectorAndNoneBehindIt() {
    assertEquals(OK, request(IN, SECTORS - 1, queue.writable(SECTOR)).status());
    Answer behind = request(IN, SECTORS - 1, queue.writable(2 * SECTOR));
    assertEquals(IO_ERROR, behind.status());
    assertEquals(0, behind.written());
    assertArrayEquals(new byte[2 * SECTOR], behind.data());
    assertEquals(IO_ERROR, request(IN, SECTORS, queue.writable(SECTOR)).status());
  }

  @ParameterizedTest
  @ValueSource(longs = {-1, Long.MIN_VALUE, Long.MAX_VALUE, Long.MAX_VALUE / 512 + 1, 1L << 55})
  void failsWhereTheSectorOverflows(long sector) throws IOException {
    assertEquals(IO_ERROR, request(IN, sector, queue.writable(SECTOR)).status());
    assertEquals(IO_ERROR, request(OUT, sector, queue.readable(new byte[SECTOR])).status());
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void failsWhereTheDataIsNotWholeSectors() throws IOException {
    assertEquals(IO_ERROR, request(IN, 0, queue.writable(SECTOR - 1)).status());
    assertEquals(IO_ERROR, request(OUT, 0, queue.readable(new byte[SECTOR + 1])).status());
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void refusesWritesToAReadOnlyDisk() throws IOException {
    restart(true, SERIAL);
    assertEquals(IO_ERROR, request(OUT, 0, queue.readable(new byte[SECTOR])).status());
    assertEquals(OK, request(IN, 0, queue.writable(SECTOR)).status());
    assertEquals(OK, request(FLUSH, 0).status());
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void writesThroughForADriverThatCannotFlush() throws IOException {
    driver.negotiate(DriverFixture.VERSION_1);
    queue = driver.configure(0, 256);
    driver.driverOk();
    assertEquals(OK, request(OUT, 0, queue.readable(new byte[SECTOR])).status());
    Arrays.fill(content, 0, SECTOR, (byte) 0);
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void flushes() {
    Answer answer = request(FLUSH, 0);
    assertEquals(OK, answer.status());
    assertEquals(1, answer.written());
  }

  @Test
  void tellsItsSerial() {
    Answer answer = request(GET_ID, 0, queue.writable(20));
    assertEquals(OK, answer.status());
    assertEquals(21, answer.written());
    assertEquals(SERIAL, new String(answer.data(), StandardCharsets.US_ASCII));
    assertEquals(
        "scra",
        new String(request(GET_ID, 0, queue.writable(4)).data(), StandardCharsets.US_ASCII));
  }

  @Test
  void padsAShortSerial() {
    restart(false, "root");
    assertArrayEquals(
        Arrays.copyOf("root".getBytes(StandardCharsets.US_ASCII), 20),
        request(GET_ID, 0, queue.writable(20)).data());
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 11, 13, 14, 16, -1})
  void doesNotSupportOtherRequests(int type) {
    Answer answer = request(type, 0, queue.writable(SECTOR));
    assertEquals(UNSUPPORTED, answer.status());
    assertEquals(0, answer.written());
  }

  @Test
  void reportsAnErrorWhereTheFileWasTruncated() throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(image.toFile(), "rw")) {
      file.setLength(10 * SECTOR);
    }
    Answer answer = request(IN, 9, queue.writable(SECTOR), queue.writable(SECTOR));
    assertEquals(IO_ERROR, answer.status());
    assertEquals(SECTOR, answer.written());
    assertEquals(OK, request(IN, 9, queue.writable(SECTOR)).status());
  }

  @Test
  void doesManyRequestsInOneTurn() {
    for (int i = 0; i < 60; i++) {
      queue.offer(header(IN, i), queue.writable(SECTOR), queue.writable(1));
    }
    queue.kick();
    for (int i = 0; i < 60; i++) {
      assertEquals(SECTOR + 1, queue.take().orElseThrow().written());
    }
  }

  @Test
  void faultsOnARequestShorterThanItsHeader() {
    queue.offer(queue.readable(new byte[15]), queue.writable(1));
    GuestFault fault = assertThrows(GuestFault.class, queue::kick);
    assertEquals(
        "virtio-blk " + SERIAL + " queue 0: a request of 15 bytes, shorter than its header",
        fault.getMessage());
  }

  @Test
  void faultsOnARequestWithoutRoomForItsStatus() {
    queue.offer(header(FLUSH, 0));
    GuestFault fault = assertThrows(GuestFault.class, queue::kick);
    assertEquals(
        "virtio-blk " + SERIAL + " queue 0: a request without room for its status",
        fault.getMessage());
  }

  @Test
  void closesItsImage() throws IOException {
    assertEquals(1, openImages());
    device.close();
    device.close();
    assertEquals(0, openImages());
  }

  private long openImages() throws IOException {
    Path real = image.toRealPath();
    return OpenFiles.targets().stream().filter(real::equals).count();
  }
}
