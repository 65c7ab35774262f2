// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.FlowEnded;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** When sessions of UDP end, by a clock of the test's. */
@Timeout(60)
class UdpSessionsTest {
  private static final PublishedPort PORT = PublishedPort.udp(5000);
  private static final Place ONE = new Place(AddressClassTest.ip(SERVER), 4433, 40_001);
  private static final Place OTHER = new Place(AddressClassTest.ip(SERVER), 4433, 40_002);

  private final AtomicLong clock = new AtomicLong(Long.MAX_VALUE - 1);

  /** It is so late from now on, and what ends by that has ended. */
  private void later(TestNetwork test, int seconds) {
    clock.set(Long.MAX_VALUE - 1 + Duration.ofSeconds(seconds).toNanos());
    // The first turn that begins now ends with what is due.
    for (int i = 0; i < 2; i++) {
      test.agent.echo(new Place(AddressClassTest.ip(SERVER), 1, 77), new byte[0]);
      test.agent.await(PlayedAgent.Echo.class, echo -> true);
    }
  }

  private static int open(TestNetwork test) {
    return test.network.statistics().openUdpSessions();
  }

  private static DatagramPacket receive(DatagramSocket socket) throws Exception {
    DatagramPacket packet = new DatagramPacket(new byte[100], 100);
    socket.receive(packet);
    return packet;
  }

  @Test
  void theyEndAMinuteAfterTheLastDatagramOfEitherWay() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internet(), clock::get);
        DatagramSocket server = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      test.route(4433, server.getLocalPort());
      test.agent.datagram(ONE, new byte[3]);
      DatagramPacket ofOne = receive(server);
      test.agent.datagram(OTHER, new byte[5]);
      DatagramPacket ofOther = receive(server);

      later(test, 30);
      server.send(ofOne);
      test.agent.await(PlayedAgent.Datagram.class, datagram -> datagram.place().equals(ONE));
      later(test, 59);
      assertEquals(2, open(test));
      // They are looked at every ten seconds.
      later(test, 69);
      assertEquals(1, open(test));
      FlowEnded ended = test.event(FlowEnded.class);
      assertEquals(5, ended.sent());
      assertEquals(0, ended.received());
      assertEquals(End.FINISHED, ended.end());

      // What comes for one that is over does not reach the guest; the other goes on.
      server.send(ofOther);
      test.agent.datagram(ONE, new byte[7]);
      assertEquals(ofOne.getSocketAddress(), receive(server).getSocketAddress());
      later(test, 128);
      assertEquals(1, open(test));
      later(test, 138);
      assertEquals(0, open(test));
      ended = test.event(FlowEnded.class);
      assertEquals(10, ended.sent());
      assertEquals(3, ended.received());
      assertTrue(
          test.agent.received().stream().noneMatch(PlayedAgent.Datagram.class::isInstance),
          () -> test.agent.received().toString());

      // Another begins as the first did.
      test.agent.datagram(OTHER, new byte[1]);
      receive(server);
      later(test, 197);
      assertEquals(1, open(test));
      later(test, 207);
      assertEquals(0, open(test));
    }
  }

  @Test
  void whoCameToAPublishedPortIsForgottenLikewise() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internet(), clock::get, PORT);
        DatagramSocket client = new DatagramSocket()) {
      InetSocketAddress address = test.network.published().get(PORT);
      client.send(new DatagramPacket(new byte[2], 2, address));
      Place place = test.agent.await(PlayedAgent.Datagram.class, datagram -> true).place();
      later(test, 59);
      test.agent.datagram(place, new byte[4]);
      assertEquals(4, receive(client).getLength());
      later(test, 118);
      assertEquals(1, open(test));
      later(test, 128);
      assertEquals(0, open(test));
      FlowEnded ended = test.event(FlowEnded.class);
      assertEquals(Direction.INBOUND, ended.flow().direction());
      assertEquals(4, ended.sent());
      assertEquals(2, ended.received());
      // An answer that is later still has nobody to go to.
      test.agent.datagram(place, new byte[4]);
      assertTrue(test.agent.await(PlayedAgent.Datagram.class, datagram -> true).refused());
      // Who comes again begins another.
      client.send(new DatagramPacket(new byte[2], 2, address));
      test.agent.await(PlayedAgent.Datagram.class, datagram -> !datagram.refused());
      assertEquals(1, open(test));
    }
  }
}
