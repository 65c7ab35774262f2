// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BalloonDeviceTest {
  private static final int MEMORY = 16 << 20;
  private static final int PAGE = 4096;

  /** Pages from here on are the tests' own. */
  private static final int FIRST_PAGE = (8 << 20) / PAGE;

  private static final int NUM_PAGES = 0x100;
  private static final int ACTUAL = 0x104;
  private static final int CONFIG_GENERATION = 0xfc;
  private static final int REPORTING = 1 << 5;
  private static final int DEFLATE_ON_OOM = 1 << 2;

  private final FakeDeviceResources resources = new FakeDeviceResources(MEMORY);
  private final BalloonDevice device = new BalloonDevice(resources);
  private final DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
  private DriverQueue inflate;
  private DriverQueue deflate;
  private DriverQueue reporting;

  @BeforeEach
  void start() {
    assertEquals(5, driver.read(0x008));
    start(4);
  }

  private void start(int reportingQueue) {
    driver.negotiate(driver.offeredFeatures());
    inflate = driver.configure(0, 128);
    deflate = driver.configure(1, 128);
    reporting = driver.configure(reportingQueue, 128);
    driver.driverOk();
    byte[] content = new byte[MEMORY - FIRST_PAGE * PAGE];
    Arrays.fill(content, (byte) 1);
    driver.memory().putBytes((long) FIRST_PAGE * PAGE, content, 0, content.length);
  }

  @AfterEach
  void close() {
    device.close();
    resources.close();
  }

  private static byte[] numbers(int... pages) {
    ByteBuffer bytes =
        ByteBuffer.allocate(pages.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asIntBuffer().put(pages);
    return bytes.array();
  }

  private void give(int... pages) {
    inflate.offer(inflate.readable(numbers(pages)));
    inflate.kick();
    assertEquals(0, inflate.take().orElseThrow().written());
  }

  private boolean isGone(int page) {
    byte first = driver.memory().getByte((long) page * PAGE);
    byte last = driver.memory().getByte((long) page * PAGE + PAGE - 1);
    assertEquals(first, last);
    return first == 0;
  }

  private int gone() {
    return (int) IntStream.range(FIRST_PAGE, MEMORY / PAGE).filter(this::isGone).count();
  }

  private long ignored(Ignored what) {
    Map<String, Long> counts = new HashMap<>();
    device.addIgnored(counts);
    return counts.getOrDefault("virtio-balloon: " + what, 0L);
  }

  @Test
  void offersReportsAndToDeflateBeforeTheGuestRunsOutOfMemory() {
    long offered = driver.offeredFeatures();
    assertEquals(REPORTING | DEFLATE_ON_OOM, offered & 0xff_ffffL);
  }

  @Test
  void takesPagesByTheirNumbers() {
    give(FIRST_PAGE + 1, FIRST_PAGE + 7, FIRST_PAGE + 6, FIRST_PAGE + 5, FIRST_PAGE + 8);
    for (int page : new int[] {1, 5, 6, 7, 8}) {
      assertTrue(isGone(FIRST_PAGE + page), () -> "page " + page);
    }
    assertEquals(5, gone());
    assertEquals(0, ignored(Ignored.PAGES));
  }

  @Test
  void aPageIsTheGuestsAgainWhenItIsTouched() {
    give(FIRST_PAGE);
    driver.memory().putByte((long) FIRST_PAGE * PAGE, (byte) 5);
    deflate.offer(deflate.readable(numbers(FIRST_PAGE)));
    deflate.kick();
    assertEquals(0, deflate.take().orElseThrow().written());
    assertEquals(5, driver.memory().getByte((long) FIRST_PAGE * PAGE));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4})
  void takesWhatIsReportedInWholePages(int queue) {
    start(queue);
    long start = (long) FIRST_PAGE * PAGE;
    reporting.offer(
        new Segment(start + 1, 3 * PAGE, true),
        new Segment(start + 10 * PAGE, 2 * PAGE, true),
        new Segment(start + 20 * PAGE + 5, PAGE, true));
    reporting.kick();
    assertEquals(0, reporting.take().orElseThrow().written());
    for (int page : new int[] {1, 2, 10, 11}) {
      assertTrue(isGone(FIRST_PAGE + page), () -> "page " + page);
    }
    assertEquals(4, gone());
  }

  @Test
  void passesOverWhatIsNoneOfTheGuestsMemory() {
    give(MEMORY / PAGE, -1, FIRST_PAGE, MEMORY / PAGE - 1, 0x7fff_ffff, 1 << 20);
    assertEquals(2, gone());
    assertEquals(4, ignored(Ignored.PAGES));
  }

  @Test
  void passesOverTheRestOfTooLongABuffer() {
    int[] pages = new int[BalloonDevice.MAXIMUM_PAGES + 1];
    Arrays.fill(pages, FIRST_PAGE);
    pages[BalloonDevice.MAXIMUM_PAGES - 1] = FIRST_PAGE + 2;
    pages[BalloonDevice.MAXIMUM_PAGES] = FIRST_PAGE + 4;
    give(pages);
    assertEquals(2, gone());
    assertEquals(1, ignored(Ignored.PAGES));
    inflate.offer(inflate.readable((byte) 1, (byte) 2, (byte) 3));
    inflate.kick();
    assertEquals(2, ignored(Ignored.PAGES));
    assertEquals(2, gone());
  }

  @Test
  void passesOverBuffersOfTheOtherDirection() {
    inflate.offer(new Segment((long) FIRST_PAGE * PAGE, PAGE, true));
    inflate.kick();
    reporting.offer(new Segment((long) FIRST_PAGE * PAGE, PAGE, false));
    reporting.kick();
    assertEquals(0, gone());
    assertEquals(2, ignored(Ignored.DIRECTION));
  }

  @Test
  void aFullQueueOfScatteredPagesIsTakenInSeveralTurns() {
    int[] pages = IntStream.range(0, 256).map(i -> FIRST_PAGE + 2 * i).toArray();
    for (int i = 0; i < 128; i++) {
      inflate.offer(inflate.readable(numbers(pages)));
    }
    resources.ring(DriverFixture.QUEUE_NOTIFY, 0);
    assertTrue(inflate.untaken() <= 2, () -> inflate.untaken() + " in one turn");
    resources.runTasks();
    assertEquals(128, inflate.untaken());
    assertEquals(256, gone());
  }

  @Test
  void asksForMemoryAndHearsWhatIsGiven() {
    assertEquals(0, driver.read(NUM_PAGES));
    int generation = driver.read(CONFIG_GENERATION);
    resources.takeInterrupts();
    device.inflateTo(5 * PAGE);
    assertEquals(1, resources.takeInterrupts());
    assertEquals(2, driver.read(DriverFixture.INTERRUPT_STATUS));
    driver.write(DriverFixture.INTERRUPT_ACK, 2);
    assertEquals(0, driver.read(DriverFixture.INTERRUPT_STATUS));
    assertEquals(5, driver.read(NUM_PAGES));
    assertFalse(generation == driver.read(CONFIG_GENERATION));

    assertEquals(0, device.given());
    driver.write(ACTUAL, 3);
    assertEquals(3, driver.read(ACTUAL));
    assertEquals(3 * PAGE, device.given());
    driver.write(ACTUAL, -1);
    assertEquals(MEMORY, device.given());
    assertEquals(0, ignored(Ignored.CONFIGURATION));
    driver.write(NUM_PAGES, 1);
    assertEquals(1, ignored(Ignored.CONFIGURATION));
    assertEquals(5, driver.read(NUM_PAGES));
  }

  @Test
  void whatIsAskedForBeforeTheDriverIsThereWaitsForIt() {
    driver.write(DriverFixture.STATUS, 0);
    resources.takeInterrupts();
    device.inflateTo(PAGE);
    assertEquals(0, resources.takeInterrupts());
    assertEquals(1, driver.read(NUM_PAGES));
    assertEquals(0, device.given());
  }

  @Test
  void takesNothingWhilePaused() {
    device.pause();
    inflate.offer(inflate.readable(numbers(FIRST_PAGE)));
    inflate.kick();
    assertEquals(0, gone());
    device.resume();
    resources.runTasks();
    assertEquals(1, gone());
  }

  /**
   * A guest that gives back anything at all: nothing but a fault comes out, and what it has not
   * named stays. To search for more: {@code JAZZER_FUZZ=1 mvn test -Djazzer.hooks=true
   * -Dtest=BalloonDeviceTest}.
   */
  @FuzzTest
  void nothingButAFaultComesOut(byte[] input) {
    ByteBuffer choices = ByteBuffer.wrap(input);
    byte[] below = driver.bytes(0, (int) DriverFixture.FIRST_ALLOCATION);
    try {
      while (choices.remaining() >= 16 && driver.hasMemoryFor(PAGE)) {
        int choice = choices.getInt();
        DriverQueue queue =
            switch (choice & 3) {
              case 0, 1 -> inflate;
              case 2 -> deflate;
              default -> reporting;
            };
        if (queue.freeDescriptors() < 2) {
          while (queue.take().isPresent()) {
            // Room again.
          }
        }
        if ((choice & 4) == 0) {
          // Mostly pages that the test may lose.
          int page = choices.getInt();
          int other = (choice & 8) == 0 ? FIRST_PAGE + (page & 0xff) : page | 1 << 20;
          queue.offer(queue.readable(numbers(other, other + 1, FIRST_PAGE + 9)));
        } else {
          long address = choices.getLong();
          long start = (choice & 8) == 0 ? FIRST_PAGE * PAGE + (address & 0xf_ffff) : address;
          queue.offer(new Segment(start, choices.getInt() & 0xf_ffff, (choice & 16) == 0));
        }
        queue.kick();
        device.inflateTo((long) (choice & 0xfff) << BalloonDevice.PAGE_SHIFT);
        driver.write(ACTUAL, choice);
        assertTrue(device.given() <= MEMORY);
      }
    } catch (GuestFault e) {
      assertTrue(e.getMessage().startsWith("virtio-balloon queue "), e::getMessage);
    }
    assertArrayEquals(below, driver.bytes(0, below.length));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void nothingButAFaultComesOutOfNoise(int seed) {
    byte[] noise = new byte[4_000];
    new Random(seed).nextBytes(noise);
    nothingButAFaultComesOut(noise);
  }

  @Test
  void guestFaultsNameTheQueue() {
    reporting.putDescriptor(63, -16, 32, DriverQueue.WRITE, 0);
    reporting.publish(63);
    GuestFault e = assertThrows(GuestFault.class, () -> reporting.kick());
    assertTrue(e.getMessage().startsWith("virtio-balloon queue 4: descriptor 63"), e::getMessage);
  }
}
