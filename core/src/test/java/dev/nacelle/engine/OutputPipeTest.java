// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
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
}
