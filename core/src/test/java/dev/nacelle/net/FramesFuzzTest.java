// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.nacelle.net.Frames.Side;
import java.nio.ByteBuffer;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever comes over the link is told in the same way however it is cut, and a violation has the
 * same name. See {@link dev.nacelle.image.testing.FuzzedImages} for how to fuzz.
 */
class FramesFuzzTest {
  static Stream<byte[]> streams() {
    return Stream.of(FramesTest.fromGuest(), FramesTest.fromHost());
  }

  @MethodSource("streams")
  @FuzzTest(maxDuration = "5m")
  void framesAreToldOrAViolation(byte[] bytes) {
    for (Side from : Side.values()) {
      String whole = read(from, bytes, Math.max(1, bytes.length));
      for (int piece : new int[] {1, 5, 64}) {
        if (!whole.equals(read(from, bytes, piece))) {
          throw new AssertionError("another in pieces: " + whole);
        }
      }
    }
  }

  /** What was told before a violation counts as well. */
  private static String read(Side from, byte[] bytes, int piece) {
    FramesTest.Log log = new FramesTest.Log();
    FrameDecoder decoder = new FrameDecoder(from, 4096);
    try {
      for (int at = 0; at < bytes.length; at += piece) {
        decoder.feed(ByteBuffer.wrap(bytes, at, Math.min(piece, bytes.length - at)), log);
      }
    } catch (FrameException e) {
      return log.text + "\n" + e.getMessage();
    }
    return log.text.toString();
  }
}
