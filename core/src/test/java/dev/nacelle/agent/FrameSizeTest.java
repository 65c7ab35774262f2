// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(NettyLeaks.class)
class FrameSizeTest {
  private static final int PREFACE_BYTES = 24;
  private static final int HEADER_BYTES = 9;
  private static final int SETTINGS = 4;
  private static final int MAX_FRAME_SIZE = 5;

  private final ByteBuffer received = ByteBuffer.allocate(1 << 16);

  @Test
  @Timeout(60)
  void guestThatHasSpokenIsToldHowLargeItsFramesMayBe() throws Exception {
    try (AgentPair pair = new AgentPair(null, AgentPair.SMALL, 1)) {
      var unused = pair.client.getInfo();
      // Its own settings: none.
      byte[] settings = {0, 0, 0, SETTINGS, 0, 0, 0, 0, 0};
      assertTrue(pair.writeAll(ByteBuffer.wrap(settings)));
      Semaphore readable = new Semaphore(0);
      pair.guest.setEventListener(readable::release);
      int told = 0;
      while (told == 0) {
        if (pair.guest.read(received) <= 0) {
          readable.acquire();
        }
        told = maxFrameSize();
      }
      assertEquals(FrameSize.MAXIMUM, told);
    }
  }

  /** What the last SETTINGS that are there say; 0 when nothing. */
  private int maxFrameSize() {
    int told = 0;
    int at = PREFACE_BYTES;
    while (at + HEADER_BYTES <= received.position()) {
      int length = received.getInt(at) >>> 8;
      int end = at + HEADER_BYTES + length;
      if (end > received.position()) {
        break;
      }
      if (received.get(at + 3) == SETTINGS) {
        // Of an identifier of two bytes and a value of four each.
        for (int setting = at + HEADER_BYTES; setting < end; setting += 6) {
          if (received.getShort(setting) == MAX_FRAME_SIZE) {
            told = received.getInt(setting + 2);
          }
        }
      }
      at = end;
    }
    return told;
  }
}
