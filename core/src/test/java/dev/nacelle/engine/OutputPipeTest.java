// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class OutputPipeTest {
  @Test
  void boundIsOnTheHeapThatSmallPiecesTake() throws Exception {
    OutputPipe pipe = new OutputPipe(() -> {});
    int pieces = 0;
    for (; !pipe.isFull(); pieces++) {
      pipe.add(ByteBuffer.wrap(new byte[] {(byte) pieces}));
    }
    assertTrue(pieces <= OutputPipe.CAPACITY / 100, pieces + " pieces");
    assertEquals(pieces, pipe.available());
    assertEquals(0, pipe.read());
    assertFalse(pipe.isFull());
  }

  @Test
  void largePiecesFillItWithTheirBytes() {
    OutputPipe pipe = new OutputPipe(() -> {});
    for (int i = 0; i < 3; i++) {
      pipe.add(ByteBuffer.wrap(new byte[64 * 1024]));
    }
    assertFalse(pipe.isFull());
  }

  @Test
  void whoReadsAsksForMoreWhenHalfOfItIsThere() throws Exception {
    AtomicInteger asked = new AtomicInteger();
    OutputPipe pipe = new OutputPipe(asked::incrementAndGet);
    byte[] chunk = new byte[32 * 1024];
    for (int i = 0; i < OutputPipe.CAPACITY / chunk.length; i++) {
      pipe.add(ByteBuffer.wrap(new byte[chunk.length]));
    }
    assertTrue(pipe.isFull());
    for (int left = pipe.available(); left > OutputPipe.CAPACITY / 2; left -= chunk.length) {
      assertEquals(0, asked.get(), left + " bytes are there");
      assertEquals(chunk.length, pipe.read(chunk));
    }
    assertEquals(chunk.length, pipe.read(chunk));
    assertTrue(asked.get() > 0);
  }
}
