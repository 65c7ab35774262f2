// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@ExtendWith(NettyLeaks.class)
class FrameLimiterTest {
  private final AtomicLong now = new AtomicLong(Long.MAX_VALUE - 10);
  private final EmbeddedChannel channel = new EmbeddedChannel(new FrameLimiter(now::get));

  @AfterEach
  void close() {
    channel.close();
    channel.releaseInbound();
  }

  private static byte[] frame(int type, int flags, int length) {
    byte[] frame = new byte[9 + length];
    frame[0] = (byte) (length >> 16);
    frame[1] = (byte) (length >> 8);
    frame[2] = (byte) length;
    frame[3] = (byte) type;
    frame[4] = (byte) flags;
    return frame;
  }

  /** Sends as many, and tells how many got through. */
  private int send(int count, byte[] frame) {
    for (int sent = 0; sent < count; sent++) {
      try {
        channel.writeInbound(Unpooled.wrappedBuffer(frame));
      } catch (Exception e) {
        assertInstanceOf(IOException.class, e);
        return sent;
      }
      ByteBuf passed = channel.readInbound();
      assertEquals(frame.length, passed.readableBytes());
      passed.release();
    }
    return count;
  }

  @ParameterizedTest
  @CsvSource({
    "6, 0, 8, 100",
    "4, 0, 0, 100",
    "6, 1, 8, 0",
    "4, 1, 0, 100",
    "7, 0, 8, 100",
    "1, 4, 10, 50000",
    "3, 0, 4, 50000",
    "0, 0, 0, 100",
    "8, 0, 4, 50000",
    "77, 0, 3, 50000"
  })
  void framesThatCarryNothingAreBounded(int type, int flags, int length, int limit) {
    assertEquals(limit, send(100_000, frame(type, flags, length)));
    assertFalse(channel.isOpen());
  }

  @Test
  void outputIsNotCounted() {
    assertEquals(100_000, send(100_000, frame(0, 0, 1)));
    assertTrue(channel.isOpen());
  }

  @Test
  void farewellIsWithoutAnError() {
    byte[] farewell = frame(7, 0, 20);
    assertEquals(2, send(2, farewell));
    // What is said of it may be anything, and so may what comes next.
    Arrays.fill(farewell, 17, farewell.length, (byte) 1);
    assertEquals(2, send(2, farewell));
    assertEquals(1, send(1, join(frame(7, 0, 3), frame(0, 0, 30))));
    farewell[16] = 11;
    assertEquals(0, send(1, farewell));
    assertFalse(channel.isOpen());
  }

  /** Netty logs each frame of a stream that it has reset, until that has left. */
  @Test
  void resetIsSentAtOnce() {
    channel.write(Unpooled.wrappedBuffer(frame(8, 0, 4)));
    assertNull(channel.readOutbound());
    channel.write(Unpooled.wrappedBuffer(frame(3, 0, 4)));
    for (int i = 0; i < 2; i++) {
      ByteBuf sent = channel.readOutbound();
      sent.release();
    }
  }

  @Test
  void timeMakesRoom() {
    for (int second = 0; second < 100; second++) {
      assertEquals(10, send(10, frame(6, 0, 8)));
      now.addAndGet(Duration.ofSeconds(1).toNanos());
    }
    assertTrue(channel.isOpen());
  }

  @Test
  void framesAreFoundHoweverTheyAreCut() {
    byte[] both = join(frame(0, 0, 70_000), frame(6, 0, 8));
    int passed = 0;
    while (send(both)) {
      passed++;
    }
    assertEquals(100, passed);
  }

  /** In pieces; false when the channel was closed over it. */
  private boolean send(byte[] frames) {
    for (int at = 0; at < frames.length; at += 997) {
      try {
        channel.writeInbound(Unpooled.copiedBuffer(frames, at, Math.min(997, frames.length - at)));
      } catch (Exception e) {
        return false;
      }
      channel.releaseInbound();
    }
    return true;
  }

  private static byte[] join(byte[] first, byte[] second) {
    byte[] all = new byte[first.length + second.length];
    System.arraycopy(first, 0, all, 0, first.length);
    System.arraycopy(second, 0, all, first.length, second.length);
    return all;
  }
}
