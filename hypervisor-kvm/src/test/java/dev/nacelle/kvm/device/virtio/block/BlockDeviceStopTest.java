// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.LoopDeviceResources;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A guest that gives a disk more work than it can do in a minute: it does not decide when its
 * machine can end.
 */
@ParameterizedClass
@EnumSource(TestEngine.class)
@Timeout(120)
class BlockDeviceStopTest {
  private static final int REQUESTS = 100;
  private static final int SEGMENTS = 250;
  private static final int SEGMENT_BYTES = 8 << 20;

  private static final int IN = 0;
  private static final int OUT = 1;
  private static final byte MARK_IN_MEMORY = 99;
  private static final byte MARK_IN_FILE = 98;
  private static final byte UNTOUCHED = 77;

  @Parameter TestEngine engine;
  @TempDir Path directory;

  /** What ends the work. */
  enum End {
    RESET(guest -> guest.driver.write(DriverFixture.STATUS, 0)),
    QUEUE_TAKEN_AWAY(
        guest -> {
          guest.driver.write(DriverFixture.QUEUE_SEL, 0);
          guest.driver.write(DriverFixture.QUEUE_READY, 0);
        }),
    CLOSE(guest -> guest.device.close());

    private final Consumer<Guest> end;

    End(Consumer<Guest> end) {
      this.end = end;
    }
  }

  private static final class Guest {
    private final BlockDevice device;
    private final DriverFixture driver;
    private final DriverQueue queue;

    Guest(LoopDeviceResources resources, DiskEngine engine) {
      device = new BlockDevice(resources, engine, false, "disk");
      driver = new DriverFixture(resources, new MmioTransport(device));
      driver.negotiate(driver.offeredFeatures());
      queue = driver.configure(0, 256);
      driver.driverOk();
    }

    /** A request for 2 GiB, all with the same few of the guest's memory; returns its status. */
    Segment offer(int type, long data) {
      byte[] header = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putInt(type).array();
      Segment status = new Segment(driver.allocate(new byte[] {UNTOUCHED}), 1, true);
      Segment[] segments = new Segment[SEGMENTS + 2];
      Arrays.fill(segments, new Segment(data, SEGMENT_BYTES, type == IN));
      segments[0] = queue.readable(header);
      segments[SEGMENTS + 1] = status;
      queue.offerIndirect(segments);
      return status;
    }

    byte at(Segment segment) {
      return driver.memory().getByte(segment.address());
    }
  }

  @ParameterizedTest
  @EnumSource
  void stopsAReadThatIsUnderWayAndStartsNoOther(End end) throws Exception {
    stops(IN, end);
  }

  @ParameterizedTest
  @EnumSource
  void stopsAWriteThatIsUnderWayAndStartsNoOther(End end) throws Exception {
    stops(OUT, end);
  }

  private void stops(int type, End end) throws Exception {
    Path file = directory.resolve("image");
    try (RandomAccessFile content = new RandomAccessFile(file.toFile(), "rw")) {
      content.write(1);
      content.setLength((long) SEGMENTS * SEGMENT_BYTES);
    }
    try (LoopDeviceResources resources = new LoopDeviceResources(16 << 20)) {
      Guest guest = new Guest(resources, engine.open(file, false));
      long data = guest.driver.allocate(SEGMENT_BYTES, 1);
      List<Segment> statuses =
          IntStream.range(0, REQUESTS).mapToObj(i -> guest.offer(type, data)).toList();
      guest.queue.kick();
      while (type == IN ? guest.driver.memory().getByte(data) == 0 : isUntouched(file)) {
        Thread.onSpinWait();
      }
      end.end.accept(guest);
      // From here on memory and, until it is closed, the image are as they are left.
      guest.driver.memory().putByte(data, MARK_IN_MEMORY);
      try (RandomAccessFile content = new RandomAccessFile(file.toFile(), "rw")) {
        content.write(MARK_IN_FILE);
      }
      CountDownLatch laterTurn = new CountDownLatch(1);
      assertTrue(resources.execute(laterTurn::countDown));
      laterTurn.await();
      guest.device.close();
      assertEquals(MARK_IN_MEMORY, guest.driver.memory().getByte(data));
      try (RandomAccessFile content = new RandomAccessFile(file.toFile(), "r")) {
        assertEquals(MARK_IN_FILE, content.read());
      }
      List<Byte> answers = statuses.stream().map(guest::at).toList();
      assertTrue(answers.contains(UNTOUCHED), "not begun");
      assertEquals(List.of(), resources.failures());
    }
  }

  private static boolean isUntouched(Path file) throws IOException {
    try (RandomAccessFile content = new RandomAccessFile(file.toFile(), "r")) {
      return content.read() == 1;
    }
  }
}
