// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm.device.virtio.block;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.kvm.device.FakeDeviceResources;
import dev.nacelle.kvm.device.GuestFault;
import dev.nacelle.kvm.device.virtio.DriverFixture;
import dev.nacelle.kvm.device.virtio.DriverQueue;
import dev.nacelle.kvm.device.virtio.DriverQueue.Segment;
import dev.nacelle.kvm.device.virtio.MmioTransport;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A driver whose requests are anything at all, in any framing: each is answered with a status that
 * there is, within its own memory, or ends the machine with a {@link GuestFault}; and the image
 * keeps its size.
 *
 * <p>To search for more: {@code JAZZER_FUZZ=1 mvn test -Djazzer.hooks=true
 * -Dtest=HostileRequestsFuzzTest}.
 */
class HostileRequestsFuzzTest {
  private static final int SECTORS = 128;
  private static final int MOST_REQUESTS = 200;
  private static final byte UNTOUCHED = 77;
  private static final int[] TYPES = {0, 1, 4, 8, 11, 13, 11, 13};

  @FuzzTest
  void eachRequestIsAnsweredOrAFault(byte[] input) throws IOException {
    play(TestEngine.SYNCHRONOUS, input);
  }

  @ParameterizedTest
  @CsvSource({
    "SYNCHRONOUS, 1", "SYNCHRONOUS, 2", "SYNCHRONOUS, 3", "SYNCHRONOUS, 4", "SYNCHRONOUS, 5",
    "URING, 1", "URING, 2", "URING, 3", "URING, 4", "URING, 5"
  })
  void eachRequestOfNoiseIsAnsweredOrAFault(TestEngine engine, int seed) throws IOException {
    Random random = new Random(seed);
    for (int i = 0; i < 100; i++) {
      byte[] noise = new byte[600];
      random.nextBytes(noise);
      play(engine, noise);
    }
  }

  private static void play(TestEngine engine, byte[] input) throws IOException {
    ByteBuffer choices = ByteBuffer.wrap(input).order(ByteOrder.LITTLE_ENDIAN);
    boolean readOnly = next(choices) % 4 == 0;
    Path image = Files.createTempFile("requests", ".img");
    FakeDeviceResources resources = new FakeDeviceResources(1 << 20);
    byte[] content = new byte[SECTORS * 512];
    new Random(1).nextBytes(content);
    Files.write(image, content);
    BlockDevice device = new BlockDevice(resources, engine.open(image, readOnly), readOnly, "disk");
    try {
      DriverFixture driver = new DriverFixture(resources, new MmioTransport(device));
      long without = next(choices) % 2 == 0 ? 0 : 1L << (next(choices) % 32);
      driver.negotiate(driver.offeredFeatures() & ~without);
      DriverQueue queue = driver.configure(0, 64);
      driver.driverOk();
      for (int i = 0; i < MOST_REQUESTS && choices.hasRemaining(); i++) {
        if (!driver.hasMemoryFor(70_000)) {
          break;
        }
        if (!request(resources, driver, queue, choices)) {
          break;
        }
      }
    } finally {
      device.close();
      resources.close();
      assertEquals(SECTORS * 512, Files.size(image));
      if (readOnly) {
        assertArrayEquals(content, Files.readAllBytes(image));
      }
      Files.delete(image);
    }
  }

  /** False when the machine has ended. */
  private static boolean request(
      FakeDeviceResources resources, DriverFixture driver, DriverQueue queue, ByteBuffer choices) {
    byte[] readable = readable(choices);
    int writable = next(choices) % 8 == 0 ? 0 : number(choices) % 8192 + 1;
    List<Segment> segments = new ArrayList<>();
    for (int done = 0; done < readable.length; ) {
      int n = Math.min(readable.length - done, cut(choices, readable.length));
      segments.add(queue.readable(Arrays.copyOfRange(readable, done, done + n)));
      done += n;
    }
    Segment last = null;
    for (int done = 0; done < writable; ) {
      int n = Math.min(writable - done, cut(choices, writable));
      last = queue.writable(n);
      segments.add(last);
      done += n;
    }
    if (segments.isEmpty() || segments.size() > 60) {
      return true;
    }
    long status = last == null ? 0 : last.address() + last.length() - 1;
    if (last != null) {
      driver.memory().putByte(status, UNTOUCHED);
    }
    // What is behind the buffer is not the device's.
    long behind = driver.allocate(new byte[] {UNTOUCHED});
    try {
      queue.offer(segments.toArray(Segment[]::new));
      driver.ring(0);
      while (queue.untaken() == 0) {
        resources.runWatchers();
      }
    } catch (GuestFault e) {
      return false;
    }
    int written = queue.take().orElseThrow().written();
    int answer = driver.memory().getByte(status);
    assertTrue(answer >= 0 && answer <= 2, () -> "status " + answer);
    assertTrue(written >= 0 && written <= writable, () -> written + " of " + writable);
    assertEquals(UNTOUCHED, driver.memory().getByte(behind));
    return true;
  }

  private static byte[] readable(ByteBuffer choices) {
    int kind = next(choices);
    if (kind % 16 == 0) {
      return new byte[next(choices) % 20];
    }
    int type = kind % 8 == 1 ? next(choices) : TYPES[kind % TYPES.length];
    boolean ranges = type == 11 || type == 13;
    int body =
        switch (next(choices) % 4) {
          case 0 -> next(choices) * 7;
          case 1 -> 512 * (next(choices) % 10);
          default -> ranges ? 16 * (next(choices) % 20) : 512;
        };
    ByteBuffer request = ByteBuffer.allocate(16 + body).order(ByteOrder.LITTLE_ENDIAN);
    request.putInt(0, type).putLong(8, sector(choices));
    for (int at = 16; ranges && at + 16 <= request.capacity(); at += 16) {
      request.putLong(at, sector(choices)).putInt(at + 8, number(choices));
      request.putInt(at + 12, next(choices) % 8 == 0 ? number(choices) : next(choices) % 2);
    }
    return request.array();
  }

  private static long sector(ByteBuffer choices) {
    return switch (next(choices) % 8) {
      case 0 -> choices.remaining() >= 8 ? choices.getLong() : -1;
      case 1 -> SECTORS - next(choices) % 4;
      default -> next(choices) % SECTORS;
    };
  }

  /** Mostly small, sometimes any; not negative. */
  private static int number(ByteBuffer choices) {
    return next(choices) % 8 == 0 && choices.remaining() >= 4
        ? choices.getInt() & Integer.MAX_VALUE
        : next(choices);
  }

  private static int cut(ByteBuffer choices, int length) {
    return next(choices) % 2 == 0 ? length : 1 + next(choices) * 4;
  }

  private static int next(ByteBuffer choices) {
    return choices.hasRemaining() ? Byte.toUnsignedInt(choices.get()) : 0;
  }
}
