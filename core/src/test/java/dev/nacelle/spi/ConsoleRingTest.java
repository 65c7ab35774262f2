// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.spi;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.spi.VirtualMachine.Listener;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.logging.Logger;
import org.junit.jupiter.api.Test;

class ConsoleRingTest {
  private final Queue<Runnable> tasks = new ArrayDeque<>();
  private final Queue<String> writer = new ArrayDeque<>();
  private final ConsoleRing console =
      new ConsoleRing(
          16,
          tasks::add,
          delivery -> {
            writer.add("outside");
            delivery.run();
            writer.add("inside");
          });

  private void write(String text) {
    write(text.getBytes(StandardCharsets.UTF_8));
  }

  private void write(byte... bytes) {
    for (byte value : bytes) {
      console.write(value);
    }
  }

  private void runTasks() {
    while (!tasks.isEmpty()) {
      tasks.remove().run();
    }
  }

  @Test
  void keepsTheEnd() {
    assertEquals("", console.tail());
    write("0123456789");
    assertEquals("0123456789", console.tail());
    write("abcdef");
    assertEquals("0123456789abcdef", console.tail());
    write("gh");
    assertEquals("23456789abcdefgh", console.tail());
  }

  @Test
  void makesTextOfWhateverTheGuestWrites() {
    write("\u001b[1mä\r\n\tb\u0007\u0000");
    assertEquals("[1mä\n\tb", console.tail());
    write((byte) 0xff, (byte) 'x');
    assertTrue(console.tail().endsWith("\ufffdx"), console::tail);
  }

  @Test
  void hasOneDeliveryWaitingHoweverMuchAGuestWrites() {
    int[] heard = new int[1];
    Listener listener = console.stream(bytes -> heard[0] += bytes.length);
    byte[] much = new byte[100 * 4096 + 1];
    write(much);
    assertEquals(1, tasks.size());
    runTasks();
    assertEquals(much.length, heard[0]);
    write("more");
    assertEquals(1, tasks.size());
    listener.close();
  }

  @Test
  void doesNothingMoreWhileNobodyListens() {
    write("nobody listens");
    assertTrue(tasks.isEmpty());
  }

  @Test
  void streamsInFewPieces() {
    List<String> pieces = new ArrayList<>();
    Listener listener =
        console.stream(bytes -> pieces.add(new String(bytes, StandardCharsets.UTF_8)));
    write("hello");
    assertEquals(1, tasks.size());
    runTasks();
    write(" world");
    runTasks();
    assertEquals(List.of("hello", " world"), pieces);
    listener.close();
    listener.close();
    write("after");
    runTasks();
    assertEquals(2, pieces.size());
  }

  @Test
  void streamBeginsWithWhatIsKeptAndHasNothingTwice() {
    List<String> first = new ArrayList<>();
    List<String> second = new ArrayList<>();
    Listener early = console.stream(bytes -> first.add(new String(bytes, StandardCharsets.UTF_8)));
    write("0123456789");
    runTasks();
    // More than the ring's 16 bytes, and the last of it still on its way to the first listener.
    write("abcdefgh");
    Listener late = console.stream(bytes -> second.add(new String(bytes, StandardCharsets.UTF_8)));
    assertEquals(List.of("0123456789", "abcdefgh"), first);
    assertEquals(List.of("23456789abcdefgh"), second);
    runTasks();
    write("!");
    runTasks();
    assertEquals(List.of("0123456789", "abcdefgh", "!"), first);
    assertEquals(List.of("23456789abcdefgh", "!"), second);
    early.close();
    late.close();
  }

  @Test
  void losesNothingWhenTheListenerIsSlow() {
    ByteArrayOutputStream seen = new ByteArrayOutputStream();
    Listener listener = console.stream(seen::writeBytes);
    Listener witness = console.stream(bytes -> writer.add("called"));
    byte[] all = new byte[10_000];
    for (int i = 0; i < all.length; i++) {
      all[i] = (byte) i;
    }
    write(all);
    assertTrue(seen.size() > 0, "delivered by the writer when the buffer was full");
    assertEquals(
        List.of("outside", "called", "inside", "outside", "called", "inside"), List.copyOf(writer));
    runTasks();
    assertArrayEquals(all, seen.toByteArray());
    listener.close();
    witness.close();
  }

  @Test
  void aListenerThatThrowsIsLoggedOnceAndCalledAgain() {
    List<byte[]> calls = new ArrayList<>();
    List<byte[]> seen = new ArrayList<>();
    Listener failing =
        console.stream(
            bytes -> {
              calls.add(bytes);
              throw new IllegalStateException("expected");
            });
    Listener other = console.stream(seen::add);
    AtomicInteger logged = new AtomicInteger();
    Logger logger = Logger.getLogger(ConsoleRing.class.getName());
    logger.setFilter(
        entry -> {
          logged.incrementAndGet();
          return false;
        });
    try {
      write("x");
      runTasks();
      write("y");
      runTasks();
    } finally {
      logger.setFilter(null);
    }
    assertEquals(1, logged.get());
    assertEquals(2, calls.size());
    assertEquals(2, seen.size());
    failing.close();
    other.close();
  }

  @Test
  void servesSeveralListenersApart() {
    List<byte[]> first = new ArrayList<>();
    List<byte[]> second = new ArrayList<>();
    List<Listener> listeners = new ArrayList<>();
    listeners.add(console.stream(first::add));
    listeners.add(console.stream(first::add));
    listeners.add(console.stream(second::add));
    listeners.get(1).close();
    write("x");
    runTasks();
    assertEquals(1, first.size());
    first.get(0)[0] = 'y';
    assertEquals('x', second.get(0)[0], "the array is the listener's own");
  }
}
