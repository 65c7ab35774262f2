// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.FreePort;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent.Direction;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.FlowAllowed;
import dev.nacelle.network.NetworkEvent.FlowEnded;
import dev.nacelle.network.NetworkEvent.FlowFailed;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.PublishedPort;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.net.BindException;
import java.net.ConnectException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What those find who come to a sandbox's published ports, and what the guest is told of them. */
@Timeout(60)
class PublishedTest {
  private static final PublishedPort WEB = PublishedPort.tcp(8000);
  private static final PublishedPort DATAGRAMS = PublishedPort.udp(5000);
  private static final String GATEWAY = "198.18.0.1";

  private static Socket connect(TestNetwork test) throws IOException {
    InetSocketAddress address = test.network.published().get(WEB);
    return new Socket(address.getAddress(), address.getPort());
  }

  /** Who connects is reset, maybe before it is known to be connected. */
  private static void assertSentAway(TestNetwork test) throws IOException {
    try (Socket client = connect(test)) {
      TestNetwork.assertReset(client);
    } catch (SocketException e) {
      // So it was.
    }
  }

  private static PlayedAgent.Accept accept(TestNetwork test) {
    return test.agent.await(PlayedAgent.Accept.class, accept -> true);
  }

  @Test
  void isOnLocalhostAndCarriesBothWays() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), WEB);
        Socket client = connect(test)) {
      assertTrue(client.getInetAddress().isLoopbackAddress());
      PlayedAgent.Accept asked = accept(test);
      assertEquals(GATEWAY, asked.place().remote().toString());
      assertEquals(8000, asked.place().localPort());
      test.agent.accepted(asked.flow(), PlayedAgent.WINDOW);
      client.getOutputStream().write("to the guest".getBytes(ISO_8859_1));
      assertEquals("to the guest", test.agent.text(asked.flow(), 12));
      test.agent.data(asked.flow(), "to the client");
      assertEquals("to the client", new String(client.getInputStream().readNBytes(13), ISO_8859_1));
      client.shutdownOutput();
      test.agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == asked.flow());
      test.agent.fin(asked.flow());
      assertEquals(-1, client.getInputStream().read());
      FlowAllowed allowed = test.event(FlowAllowed.class);
      assertEquals(Direction.INBOUND, allowed.flow().direction());
      assertEquals(8000, allowed.flow().guestPort());
      assertEquals(client.getLocalPort(), allowed.flow().port());
      assertEquals(WEB.toString(), allowed.rule());
      assertEquals(End.FINISHED, test.event(FlowEnded.class).end());
    }
  }

  /** With no guest yet. */
  private static HostNetwork network(NetworkLoop loop, Publisher publisher) {
    return TestNetwork.host(
        loop,
        TestNetwork.surroundings(false, address -> address),
        NetworkPolicy.internal(),
        publisher);
  }

  @Test
  void whoComesBeforeTheGuestWaits() throws Exception {
    try (NetworkLoop loop = new NetworkLoop("test-network");
        Publisher publisher = new Publisher(List.of(WEB));
        HostNetwork network = network(loop, publisher)) {
      InetSocketAddress address = network.published().get(WEB);
      try (Socket client = new Socket(address.getAddress(), address.getPort());
          PlayedAgent agent = PlayedAgent.of(network)) {
        client.getOutputStream().write('x');
        int flow = agent.await(PlayedAgent.Accept.class, accept -> true).flow();
        agent.accepted(flow, PlayedAgent.WINDOW);
        assertEquals("x", agent.text(flow, 1));
      }
    }
  }

  @Test
  void whoAsksBeforeTheGuestIsGreetedIsAnsweredAndTheLinkGoesOn() throws Exception {
    try (NetworkLoop loop = new NetworkLoop("test-network");
        HostNetwork network = network(loop, new Publisher(List.of()));
        PlayedAgent agent = new PlayedAgent()) {
      network.accept(agent.connection());
      assertThrows(ExecutionException.class, network.probe(8000)::get);
      assertEquals(List.of(), agent.received());
      agent.hello();
      CompletableFuture<Void> second = network.probe(8000);
      agent.accepted(agent.await(PlayedAgent.Accept.class, accept -> true).flow(), 1);
      second.get();
    }
  }

  @Test
  void theGuestIsToldWhoItIsWhereThatIsAskedForAndTrue() throws Exception {
    PublishedPort kept = WEB.keepPeerAddress(true);
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), kept)) {
      InetSocketAddress address = test.network.published().get(kept);
      try (Socket client = new Socket(address.getAddress(), address.getPort())) {
        // A guest takes no packet from 127.0.0.1.
        assertEquals(GATEWAY, accept(test).place().remote().toString());
        assertTrue(client.isConnected());
      }
    }
    List<InetAddress> others = new ArrayList<>();
    java.net.NetworkInterface.networkInterfaces()
        .flatMap(java.net.NetworkInterface::inetAddresses)
        .filter(a -> a instanceof java.net.Inet4Address && !a.isLoopbackAddress())
        .forEach(others::add);
    for (InetAddress own : others) {
      try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), kept.onAddress(own))) {
        InetSocketAddress address = test.network.published().values().iterator().next();
        try (Socket client = new Socket(own, address.getPort())) {
          Place place = accept(test).place();
          assertEquals(own.getHostAddress(), place.remote().toString());
          assertEquals(client.getLocalPort(), place.remotePort());
        }
      }
    }
  }

  @Test
  void whomTheGuestRefusesIsReset() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), WEB);
        Socket client = connect(test)) {
      test.agent.refused(accept(test).flow(), Refusal.REFUSED);
      TestNetwork.assertReset(client);
      assertTrue(test.event(FlowFailed.class).failure().contains("localhost"));
      assertEquals(1, test.network.statistics().failed());
    }
  }

  @Test
  void whomTheGuestDoesNotAnswerIsResetInTime() throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .limits(NetworkLimits.builder().connectTimeout(Duration.ofMillis(50)).build())
            .build();
    try (TestNetwork test = new TestNetwork(policy, WEB);
        Socket client = connect(test)) {
      int flow = accept(test).flow();
      TestNetwork.assertReset(client);
      test.agent.await(PlayedAgent.Resets.class, reset -> reset.flow() == flow);
      // It answers in the moment in which it is given up.
      test.agent.accepted(flow, 1);
      assertEquals(0, test.network.statistics().linksLost());
    }
  }

  @Test
  void aGuestThatStandsStillIsGivenTheTime() throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .limits(NetworkLimits.builder().connectTimeout(Duration.ofSeconds(2)).build())
            .build();
    AtomicLong clock = new AtomicLong();
    try (TestNetwork test = new TestNetwork(policy, clock::get, WEB)) {
      test.network.setPaused(true);
      try (Socket client = connect(test)) {
        int flow = accept(test).flow();
        clock.addAndGet(Duration.ofSeconds(3).toNanos());
        // Who is asked that looks at the clock before all else.
        assertEquals(0, test.network.statistics().failed());
        test.network.setPaused(false);
        test.agent.accepted(flow, PlayedAgent.WINDOW);
        test.agent.data(flow, "x");
        assertEquals('x', client.getInputStream().read());
      }
    }
  }

  @Test
  void soManyWaitForTheGuestAndNoMore() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), WEB)) {
      List<Socket> clients = new ArrayList<>();
      try {
        for (int i = 0; i < 64; i++) {
          clients.add(connect(test));
        }
        assertSentAway(test);
        assertEquals(Limit.PENDING_FLOWS, test.event(LimitReached.class).limit());
        test.agent.refused(accept(test).flow(), Refusal.REFUSED);
        TestNetwork.assertReset(clients.get(0));
        clients.add(connect(test));
        test.agent.await(PlayedAgent.Accept.class, accept -> accept.flow() == 2 * 65);
      } finally {
        for (Socket client : clients) {
          client.close();
        }
      }
    }
  }

  @Test
  void thoseWhoComeTakeNothingOfWhatTheSandboxMayBegin() throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .allow(Egress.internet())
            .limits(NetworkLimits.builder().opens(new Rate(1, 2)).build())
            .build();
    List<Socket> clients = new ArrayList<>();
    try (TestNetwork test = new TestNetwork(policy, WEB);
        ServerSocket server = test.server(7)) {
      try {
        for (int i = 0; i < 20; i++) {
          try {
            clients.add(connect(test));
          } catch (SocketException e) {
            // It is reset before it is known to be connected.
          }
        }
        assertEquals(Limit.OPENS, test.event(LimitReached.class).limit());
        test.agent.connect(TestNetwork.SERVER, 7);
        test.agent.connect(TestNetwork.SERVER, 7);
        assertTrue(server.isBound());
      } finally {
        for (Socket client : clients) {
          client.close();
        }
      }
    }
  }

  @Test
  void aProbeSaysWhetherSomebodyAccepts() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), WEB)) {
      CompletableFuture<Void> refused = test.network.probe(8000);
      test.agent.refused(accept(test).flow(), Refusal.REFUSED);
      assertInstanceOf(
          ConnectException.class,
          assertThrows(CompletionException.class, refused::join).getCause());
      CompletableFuture<Void> taken = test.network.probe(8000);
      PlayedAgent.Accept asked = accept(test);
      test.agent.accepted(asked.flow(), PlayedAgent.WINDOW);
      taken.join();
      test.agent.await(PlayedAgent.Resets.class, reset -> reset.flow() == asked.flow());
      assertEquals(0, test.network.statistics().openFlows());
      test.agent.close();
      CompletableFuture<Void> lost;
      do {
        lost = test.network.probe(8000);
        assertThrows(CompletionException.class, lost::join);
      } while (test.network.statistics().linksLost() == 0);
    }
  }

  @Test
  void aPortThatIsTakenIsNamedAndLeavesNothingOpen() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      int port = FreePort.find();
      PublishedPort first = DATAGRAMS.onHostPort(port);
      PublishedPort second = WEB.onHostPort(taken.getLocalPort());
      BindException refused =
          assertThrows(BindException.class, () -> new Publisher(List.of(first, second)));
      assertTrue(refused.getMessage().contains(second.toString()), refused::getMessage);
      new DatagramSocket(port, InetAddress.getLoopbackAddress()).close();
    }
  }

  @Test
  void datagramsOfEachPeerAreKeptApart() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), DATAGRAMS);
        DatagramSocket one = new DatagramSocket();
        DatagramSocket two = new DatagramSocket()) {
      InetSocketAddress address = test.network.published().get(DATAGRAMS);
      one.send(new DatagramPacket("one".getBytes(ISO_8859_1), 3, address));
      PlayedAgent.Datagram first = test.agent.await(PlayedAgent.Datagram.class, d -> true);
      two.send(new DatagramPacket("two".getBytes(ISO_8859_1), 3, address));
      PlayedAgent.Datagram second = test.agent.await(PlayedAgent.Datagram.class, d -> true);
      assertEquals("one", new String(first.bytes(), ISO_8859_1));
      assertEquals("two", new String(second.bytes(), ISO_8859_1));
      assertEquals(5000, first.place().localPort());
      assertNotEquals(first.place().remotePort(), second.place().remotePort());
      test.agent.datagram(second.place(), "answer".getBytes(ISO_8859_1));
      test.agent.datagram(first.place(), "1".getBytes(ISO_8859_1));
      DatagramPacket packet = new DatagramPacket(new byte[100], 100);
      two.receive(packet);
      assertEquals("answer", new String(packet.getData(), 0, packet.getLength(), ISO_8859_1));
      one.receive(packet);
      assertEquals(1, packet.getLength());
      assertEquals(address, packet.getSocketAddress());
      assertEquals(2, test.network.statistics().openUdpSessions());
    }
  }

  @Test
  void withoutANetworkByPolicyNobodyIsTaken() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), WEB);
        Socket client = connect(test)) {
      int flow = accept(test).flow();
      test.agent.accepted(flow, PlayedAgent.WINDOW);
      test.update(NetworkPolicy.none());
      test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow && r.why() == Reset.POLICY);
      TestNetwork.assertReset(client);
      assertSentAway(test);
      test.update(NetworkPolicy.internal());
      try (Socket again = connect(test)) {
        accept(test);
        assertTrue(again.isConnected());
      }
    }
  }

  @Test
  void closingClosesThePort() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal(), WEB)) {
      InetSocketAddress address = test.network.published().get(WEB);
      test.network.close();
      assertThrows(
          ConnectException.class, () -> new Socket(address.getAddress(), address.getPort()));
      assertFalse(test.network.published().isEmpty());
    }
  }
}
