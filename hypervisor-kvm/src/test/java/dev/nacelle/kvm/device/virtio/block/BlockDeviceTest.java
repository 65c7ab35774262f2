// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.DataSize;
import dev.nacelle.DiskUse;
import dev.nacelle.internal.OpenFiles;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.DriverQueue.Used;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a driver sees of a disk, however the host reads and writes it. */
@ParameterizedClass
@EnumSource(TestEngine.class)
@Timeout(60)
class BlockDeviceTest {
  private static final int SECTORS = 64;
  private static final int SECTOR = 512;
  private static final String SERIAL = "scratch-0123456789ab";

  private static final int IN = 0;
  private static final int OUT = 1;
  private static final int FLUSH = 4;
  private static final int GET_ID = 8;
  private static final int DISCARD = 11;
  private static final int WRITE_ZEROES = 13;
  private static final int OK = 0;
  private static final int IO_ERROR = 1;
  private static final int UNSUPPORTED = 2;
  private static final long F_SEG_MAX = 1 << 2;
  private static final long F_READ_ONLY = 1 << 5;
  private static final long F_FLUSH = 1 << 9;
  private static final long F_DISCARD = 1 << 13;
  private static final long F_WRITE_ZEROES = 1 << 14;

  @Parameter TestEngine engine;
  @TempDir Path directory;
  private final FakeDeviceResources resources = new FakeDeviceResources(8 << 20);
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
    device = new BlockDevice(resources, engine.open(image, readOnly), readOnly, serial);
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

  /** The next buffer that comes back. */
  private Used take() {
    while (queue.untaken() == 0) {
      resources.runWatchers();
    }
    return queue.take().orElseThrow();
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
    int written = take().written();
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
    assertEquals(F_SEG_MAX | F_FLUSH | F_DISCARD | F_WRITE_ZEROES, offered & 0xffff);
    restart(true, SERIAL);
    assertEquals(F_SEG_MAX | F_FLUSH | F_READ_ONLY, driver.offeredFeatures() & 0xffff);
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
  void whatTheHostReadsAndWritesIsCounted() {
    request(IN, 3, queue.writable(2 * SECTOR));
    request(OUT, 7, queue.readable(new byte[SECTOR]));
    request(GET_ID, 0, queue.writable(20));
    request(FLUSH, 0);
    // Refused before anything is asked of the host.
    assertEquals(IO_ERROR, request(IN, SECTORS, queue.writable(SECTOR)).status());
    Map<String, DiskUse> disks = new HashMap<>();
    transport.addDiskUse(disks);
    DiskUse expected = DiskUse.of(DataSize.bytes(2 * SECTOR), DataSize.bytes(SECTOR), 1, 1);
    assertEquals(Map.of(SERIAL, expected), disks);
  }

  @Test
  void readsWhereTheStatusSharesASegmentWithTheData() {
    Segment both = queue.writable(SECTOR + 1);
    queue.offer(header(IN, 5), both);
    queue.kick();
    assertEquals(SECTOR + 1, take().written());
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
    assertEquals(1, take().written());
    Arrays.fill(content, 9 * SECTOR, 10 * SECTOR, (byte) 0x5a);
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void readsThroughAnIndirectTable() {
    Segment data = queue.writable(SECTOR);
    Segment status = queue.writable(1);
    queue.offerIndirect(header(IN, 1), data, status);
    queue.kick();
    assertEquals(SECTOR + 1, take().written());
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
  @ValueSource(ints = {2, 3, 5, 10, 12, 14, 16, -1})
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
      assertEquals(SECTOR + 1, take().written());
    }
  }

  @Test
  void transfersMoreThanOneStepAndAsManySegmentsAsThereAre() throws IOException {
    byte[] large = new byte[254 * 16 * SECTOR];
    new Random(3).nextBytes(large);
    Files.write(image, large);
    restart(false, SERIAL);
    Segment[] segments = new Segment[254];
    Arrays.setAll(segments, i -> queue.writable(16 * SECTOR));
    queue.offer(concat(header(IN, 0), segments, queue.writable(1)));
    queue.kick();
    assertEquals(large.length + 1, take().written());
    for (int i = 0; i < segments.length; i++) {
      int at = i * 16 * SECTOR;
      assertArrayEquals(
          Arrays.copyOfRange(large, at, at + 16 * SECTOR),
          driver.bytes(segments[i].address(), 16 * SECTOR));
    }
    Files.write(image, new byte[large.length]);
    Arrays.setAll(segments, i -> new Segment(segments[i].address(), 16 * SECTOR, false));
    queue.offer(concat(header(OUT, 0), segments, queue.writable(1)));
    queue.kick();
    assertEquals(1, take().written());
    assertArrayEquals(large, Files.readAllBytes(image));
  }

  private static Segment[] concat(Segment first, Segment[] middle, Segment last) {
    Segment[] all = new Segment[middle.length + 2];
    all[0] = first;
    System.arraycopy(middle, 0, all, 1, middle.length);
    all[middle.length + 1] = last;
    return all;
  }

  @Test
  void takesMoreRequestsThanCanBeUnderWay() {
    long segment = driver.allocate(SECTOR, 1);
    List<Segment> statuses = new ArrayList<>();
    for (int i = 0; i < 250; i++) {
      Segment status = new Segment(driver.allocate(new byte[] {77}), 1, true);
      statuses.add(status);
      queue.offerIndirect(header(IN, i % SECTORS), new Segment(segment, SECTOR, true), status);
    }
    queue.kick();
    for (int i = 0; i < 250; i++) {
      assertEquals(SECTOR + 1, take().written());
    }
    assertTrue(statuses.stream().allMatch(s -> driver.memory().getByte(s.address()) == OK));
  }

  /** A request with struct virtio_blk_discard_write_zeroes: sector, sectors, flags of each. */
  private int ranges(int type, long... numbers) {
    Segment[] data = new Segment[numbers.length / 3];
    for (int i = 0; i < data.length; i++) {
      data[i] =
          queue.readable(
              ByteBuffer.allocate(16)
                  .order(ByteOrder.LITTLE_ENDIAN)
                  .putLong(numbers[3 * i])
                  .putInt((int) numbers[3 * i + 1])
                  .putInt((int) numbers[3 * i + 2])
                  .array());
    }
    Answer answer = request(type, 0, data);
    assertEquals(1, answer.written());
    return answer.status();
  }

  @Test
  void tellsWhatCanBeDiscardedAndZeroed() {
    assertEquals(1 << 21, transport.read(0x124, 4), "max_discard_sectors");
    assertEquals(16, transport.read(0x128, 4), "max_discard_seg");
    assertEquals(8, transport.read(0x12c, 4), "discard_sector_alignment");
    assertEquals(1 << 21, transport.read(0x130, 4), "max_write_zeroes_sectors");
    assertEquals(16, transport.read(0x134, 4), "max_write_zeroes_seg");
    assertEquals(1, transport.read(0x138, 1), "write_zeroes_may_unmap");
    restart(true, SERIAL);
    for (int offset = 0x124; offset < 0x13c; offset++) {
      assertEquals(0, transport.read(offset, 1));
    }
  }

  @Test
  void givesDiscardedSpaceBackToTheHost() throws IOException {
    content = new byte[64 << 20];
    Arrays.fill(content, (byte) 1);
    Files.write(image, content);
    restart(false, SERIAL);
    long before = allocatedKib();
    assertEquals(OK, ranges(DISCARD, 0, 1 << 16, 0, 1 << 16, 1 << 15, 0));
    // With what the file system needs to know where the rest is.
    assertEquals(48 << 10, before - allocatedKib(), 64.0);
    Arrays.fill(content, 0, 48 << 20, (byte) 0);
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  /** What du(1) says of the image. */
  private long allocatedKib() throws IOException {
    Process du = new ProcessBuilder("du", "-k", image.toString()).start();
    String line = new String(du.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
    return Long.parseLong(line.split("\t", 2)[0]);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void writesZeros(int unmap) throws IOException {
    assertEquals(OK, ranges(WRITE_ZEROES, 3, 5, unmap, 63, 1, unmap, 20, 0, unmap));
    Arrays.fill(content, 3 * SECTOR, 8 * SECTOR, (byte) 0);
    Arrays.fill(content, 63 * SECTOR, 64 * SECTOR, (byte) 0);
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  /** Each after a good range, which is not touched either. */
  @ParameterizedTest
  @CsvSource({
    "11, 0, 1, 1, 2", "11, 0, 1, 2, 2", "13, 0, 1, 2, 2", "13, 0, 1, -1, 2",
    "11, 64, 1, 0, 1", "11, 60, 5, 0, 1", "11, -1, 1, 0, 1", "13, 36028797018963968, 1, 0, 1",
    "11, 0, 2097153, 0, 1", "13, 0, -1, 0, 1", "13, 9223372036854775807, 1, 1, 1"
  })
  void refusesRangesThatAreNotOnTheDiskAndUnknownFlags(
      int type, long sector, long sectors, long flags, int status) throws IOException {
    assertEquals(status, ranges(type, 8, 8, 0, sector, sectors, flags));
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @ParameterizedTest
  @ValueSource(ints = {DISCARD, WRITE_ZEROES})
  void refusesRangesInWrongNumberOrSize(int type) throws IOException {
    assertEquals(IO_ERROR, request(type, 0).status());
    assertEquals(IO_ERROR, request(type, 0, queue.readable(new byte[15])).status());
    assertEquals(IO_ERROR, request(type, 0, queue.readable(new byte[17])).status());
    assertEquals(IO_ERROR, ranges(type, new long[17 * 3]));
    assertEquals(OK, ranges(type, new long[16 * 3]), "16 of no sectors");
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void changesNothingOfAReadOnlyDisk() throws IOException {
    restart(true, SERIAL);
    assertEquals(IO_ERROR, ranges(DISCARD, 0, 8, 0));
    assertEquals(IO_ERROR, ranges(WRITE_ZEROES, 0, 8, 1));
    assertArrayEquals(content, Files.readAllBytes(image));
  }

  @Test
  void doesNotDoWhatWasNotNegotiated() throws IOException {
    driver.negotiate(driver.offeredFeatures() & ~(F_DISCARD | F_WRITE_ZEROES));
    queue = driver.configure(0, 256);
    driver.driverOk();
    assertEquals(UNSUPPORTED, ranges(DISCARD, 0, 8, 0));
    assertEquals(UNSUPPORTED, ranges(WRITE_ZEROES, 0, 8, 1));
    assertArrayEquals(content, Files.readAllBytes(image));
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
