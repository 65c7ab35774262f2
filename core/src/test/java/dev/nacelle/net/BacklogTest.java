// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What waits of a flow, in its order, and no more of it leaves than may. */
class BacklogTest {
  private final NetworkMemory memory = new NetworkMemory(1 << 20);

  /** Takes so many bytes of each write. */
  private static final class Sink implements WritableByteChannel {
    private final ByteArrayOutputStream taken = new ByteArrayOutputStream();
    private int most = Integer.MAX_VALUE;

    @Override
    public int write(ByteBuffer source) {
      int count = Math.min(most, source.remaining());
      for (int i = 0; i < count; i++) {
        taken.write(source.get());
      }
      return count;
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }

  private static ByteBuffer text(String text) {
    return ByteBuffer.wrap(text.getBytes(StandardCharsets.US_ASCII));
  }

  @Test
  void onlyWhatIsClearedLeaves() throws IOException {
    Backlog backlog = new Backlog(100, memory.share());
    Sink sink = new Sink();
    backlog.add(text("head and more"));
    assertFalse(backlog.mayLeave());
    assertEquals(13, backlog.unseen().remaining());
    backlog.saw(4);
    assertTrue(backlog.holdsSeen());
    backlog.clear();
    assertFalse(backlog.holdsSeen());
    assertEquals(4, backlog.writeTo(sink, Long.MAX_VALUE));
    assertFalse(backlog.mayLeave());
    assertEquals(9, backlog.size());
    backlog.clearAll();
    assertEquals(3, backlog.writeTo(sink, 3));
    assertEquals(6, backlog.writeTo(sink, Long.MAX_VALUE));
    assertTrue(backlog.isEmpty());
    assertEquals(0, memory.used());
    assertEquals("head and more", sink.taken.toString(StandardCharsets.US_ASCII));
  }

  @Test
  void anyMixtureKeepsTheOrder() throws IOException {
    Random random = new Random(3);
    Backlog backlog = new Backlog(1000, memory.share());
    Sink sink = new Sink();
    StringBuilder all = new StringBuilder();
    for (int i = 0; i < 20_000; i++) {
      int room = 1000 - backlog.size();
      String next = String.valueOf((char) ('a' + i % 26)).repeat(random.nextInt(40));
      if (next.length() <= room) {
        backlog.add(text(next));
        all.append(next);
      }
      backlog.saw(random.nextInt(backlog.unseen().remaining() + 1));
      if (random.nextBoolean()) {
        backlog.clear();
      }
      sink.most = random.nextInt(60);
      if (backlog.mayLeave()) {
        backlog.writeTo(sink, random.nextInt(2000));
      }
    }
    backlog.clearAll();
    sink.most = Integer.MAX_VALUE;
    backlog.writeTo(sink, Long.MAX_VALUE);
    assertEquals(all.toString(), sink.taken.toString(StandardCharsets.US_ASCII));
  }

  @Test
  void aNetworkHasAQuarterOfWhatIsLeft() {
    NetworkMemory.Share greedy = memory.share();
    NetworkMemory.Share other = memory.share();
    Backlog backlog = new Backlog(1 << 20, greedy);
    assertFalse(backlog.add(ByteBuffer.allocate((1 << 18) + 1)));
    assertEquals(0, memory.used());
    while (backlog.add(ByteBuffer.allocate(10_000))) {
      assertTrue(memory.used() <= 1 << 18);
    }
    assertTrue(memory.used() >= 1 << 17);
    assertTrue(other.take(100_000));
    backlog.drop();
    assertEquals(100_000, memory.used());
  }
}
