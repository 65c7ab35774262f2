// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * What a guest that owns its end of the link can do to its host: use up what it was given. How many
 * opens a storm has, the system property {@code nacelle.opens} says.
 */
@Timeout(120)
class HostileGuestTest {
  private static final Path DESCRIPTORS = Path.of("/proc/self/fd");
  private static final int FIRST_WINDOW = 256 << 10;
  static final int STORM = Integer.getInteger("nacelle.opens", 100_000);

  static final NetworkPolicy FAST =
      NetworkPolicy.internet().toBuilder()
          .limits(NetworkLimits.builder().opens(Rate.perSecond(1_000_000)).build())
          .build();

  static long descriptors() throws IOException {
    assumeTrue(Files.isDirectory(DESCRIPTORS));
    try (Stream<Path> list = Files.list(DESCRIPTORS)) {
      return list.count();
    }
  }

  /** There are no more than so many, once selectors have let go of what was closed. */
  static void assertDescriptors(long most) throws Exception {
    for (int i = 0; i < 600 && descriptors() > most; i++) {
      Thread.sleep(100);
    }
    long now = descriptors();
    assertTrue(now <= most, () -> now + " where " + most + " may be");
  }

  /** So many frames, many at a time. */
  static void storm(
      TestNetwork test, int count, java.util.function.IntConsumer each, ByteBuffer out) {
    for (int i = 0; i < count; i++) {
      each.accept(i);
      if (out.remaining() < 1000 || i == count - 1) {
        test.agent.raw(out.flip());
        out.clear();
      }
    }
  }

  static void putOpen(ByteBuffer out, int flow, Ip address) {
    Frames.putOpen(
        out,
        Frames.OPEN,
        flow,
        false,
        address.high(),
        address.low(),
        7,
        40_000,
        PlayedAgent.WINDOW);
  }

  /** What the storm has done was done when this returns. */
  static void sync(TestNetwork test) {
    Place place = new Place(AddressClassTest.ip(SERVER), 1, new Random().nextInt(60_000) + 1);
    test.agent.echo(place, new byte[0]);
    test.agent.await(PlayedAgent.Echo.class, echo -> echo.place().equals(place));
  }

  @Test
  void aStormOfOpensOpensAsManyFlowsAsThereMayBe() throws Exception {
    long before = descriptors();
    try (TestNetwork test = new TestNetwork(FAST);
        ServerSocket server = test.server(7)) {
      test.agent.forgetOthers();
      Ip address = AddressClassTest.ip(SERVER);
      ByteBuffer out = ByteBuffer.allocate(64 << 10);
      storm(test, STORM, i -> putOpen(out, 2 * i + 1, address), out);
      sync(test);
      NetworkStatistics statistics = test.network.statistics();
      assertTrue(statistics.openFlows() <= 1024, statistics::toString);
      // Sockets of both ends, for the server is this process, too.
      assertDescriptors(before + 1024 + 50 + 20);
      long all = statistics.opened() + statistics.failed() + count(statistics);
      assertTrue(all >= STORM - 1024 && all <= STORM, statistics::toString);
      assertTrue(server.isBound());
    }
    assertDescriptors(before + 5);
  }

  private static long count(NetworkStatistics statistics) {
    return statistics.denied().values().stream().mapToLong(Long::longValue).sum();
  }

  @Test
  void aStormOfOpensAndResetsLeavesNothing() throws Exception {
    long before = descriptors();
    try (TestNetwork test = new TestNetwork(FAST);
        ServerSocket server = test.server(7)) {
      test.agent.forgetOthers();
      Ip address = AddressClassTest.ip(SERVER);
      ByteBuffer out = ByteBuffer.allocate(64 << 10);
      storm(
          test,
          STORM / 4,
          i -> {
            int flow = 2 * i + 1;
            putOpen(out, flow, address);
            Frames.putReset(out, flow, Reset.ABORTED);
            Frames.putFin(out, flow);
            Frames.putCredit(out, flow, 1);
          },
          out);
      sync(test);
      assertEquals(0, test.network.statistics().openFlows());
      assertEquals(0, test.network.statistics().linksLost());
      assertTrue(server.isBound());
    }
    assertDescriptors(before + 5);
  }

  @Test
  void aStormOfDatagramsToAllPortsHasAsManySessionsAsThereMayBe() throws Exception {
    try (TestNetwork test = new TestNetwork(FAST)) {
      test.agent.forgetOthers();
      Ip address = AddressClassTest.ip(SERVER);
      ByteBuffer out = ByteBuffer.allocate(64 << 10);
      for (int port = 1; port < 60_000; port++) {
        test.route(port, 9);
      }
      storm(
          test,
          60_000,
          i ->
              Frames.putMessageHead(
                  out, Frames.DGRAM, false, 0, address.low(), 54 + i % 59_000, 1 + i, false, 0),
          out);
      sync(test);
      assertEquals(256, test.network.statistics().openUdpSessions());
    }
  }

  @Test
  void whatReceiversDoNotTakeIsBoundedByMemoryAndTheirFlowsEnd() throws Exception {
    NetworkMemory memory = new NetworkMemory(1 << 20);
    try (TestNetwork test = new TestNetwork(FAST, memory);
        ServerSocket server = test.server(7)) {
      byte[] part = new byte[Frames.MAX_DATA];
      boolean goesOn = true;
      for (int i = 0; i < 20 && goesOn; i++) {
        int flow = test.agent.connect(SERVER, 7);
        // Until its window is used up, or it is over.
        for (int sent = 0; sent < credit(test, flow) && goesOn; sent += part.length) {
          test.agent.data(flow, part);
          sync(test);
          goesOn = test.agent.received().stream().noneMatch(m -> m instanceof PlayedAgent.Resets);
        }
        assertTrue(memory.used() <= 1 << 18, () -> memory.used() + " bytes");
      }
      Reset why = test.agent.await(PlayedAgent.Resets.class, reset -> true).why();
      assertEquals(Reset.LIMIT, why);
      assertEquals(Limit.MEMORY, test.event(LimitReached.class).limit());
      assertTrue(server.isBound());
    }
    assertEquals(0, memory.used());
  }

  /** What a flow may have sent in all. */
  private static int credit(TestNetwork test, int flow) {
    int most = FIRST_WINDOW;
    for (PlayedAgent.Message message : test.agent.received()) {
      if (message instanceof PlayedAgent.Credited given && given.flow() == flow) {
        most += given.amount();
      }
    }
    return most - Frames.MAX_DATA + 1;
  }

  @Test
  void nonsenseEndsTheLinkAndNothingElse() throws Exception {
    long before = descriptors();
    for (int seed = 0; seed < 100; seed++) {
      Random random = new Random(seed);
      try (TestNetwork test = new TestNetwork(FAST)) {
        byte[] bytes = new byte[20_000];
        random.nextBytes(bytes);
        // Begins as a frame does, so that some of them are taken.
        for (int at = 0; at < bytes.length - 12; at += 12 + random.nextInt(30)) {
          bytes[at] = (byte) (2 + random.nextInt(11));
          bytes[at + 1] = 0;
          bytes[at + 2] = 0;
          bytes[at + 3] = 0;
          bytes[at + 8] = 0;
          bytes[at + 9] = 0;
          bytes[at + 10] = 0;
        }
        try {
          test.agent.raw(ByteBuffer.wrap(bytes));
          for (int i = 0; i < 100; i++) {
            test.agent.raw(ByteBuffer.allocate(64 << 10));
          }
        } catch (UncheckedIOException e) {
          // It has ended.
        }
        test.agent.awaitEnd();
        assertEquals(1, test.network.statistics().linksLost());
      }
    }
    assertDescriptors(before + 5);
  }

  @Test
  void aSecondGreetingEndsTheLink() throws Exception {
    try (TestNetwork test = new TestNetwork(FAST)) {
      ByteBuffer out = ByteBuffer.allocate(100);
      Frames.putHello(out, new Frames.Hello(Frames.MAX_DATA, 1, 1, 0, 0));
      test.agent.raw(out.flip());
      test.agent.awaitEnd();
    }
  }

  @Test
  void aNeighbourOnTheSameLoopIsServedDuringAStorm() throws Exception {
    try (TestNetwork hostile = new TestNetwork(FAST);
        TestNetwork neighbour = new TestNetwork(NetworkPolicy.internet(), hostile);
        ServerSocket server = neighbour.server(7)) {
      hostile.agent.forgetOthers();
      Thread attacker =
          new Thread(
              () -> {
                ByteBuffer out = ByteBuffer.allocate(64 << 10);
                Ip address = AddressClassTest.ip("203.0.113.1");
                try {
                  storm(hostile, 50 * STORM, i -> putOpen(out, 2 * i + 1, address), out);
                } catch (UncheckedIOException e) {
                  // The test has ended.
                }
              });
      attacker.setDaemon(true);
      attacker.start();
      int flow = neighbour.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        for (int i = 0; i < 100; i++) {
          neighbour.agent.data(flow, "x");
          assertEquals('x', peer.getInputStream().read());
          peer.getOutputStream().write('y');
          assertEquals("y", neighbour.agent.text(flow, 1));
        }
      }
      hostile.agent.close();
      attacker.join();
    }
  }
}
