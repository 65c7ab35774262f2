// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.Words;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent.FlowDenied;
import dev.nacelle.network.NetworkEvent.FlowFailed;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Flows through an upstream proxy that the test plays. */
@Timeout(60)
class ProxyTest {
  private static NetworkPolicy.Builder through(ServerSocket proxy) {
    return NetworkPolicy.builder()
        .allow(Egress.internet())
        .upstreamProxy(URI.create("http://127.0.0.1:" + proxy.getLocalPort()));
  }

  private static ServerSocket listen() throws IOException {
    return new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  }

  private static String head(Socket proxied) throws IOException {
    return Words.until("\r\n\r\n", proxied.getInputStream());
  }

  private static void answer(Socket proxied, String answer) throws IOException {
    proxied.getOutputStream().write(answer.getBytes(ISO_8859_1));
  }

  @Test
  void theProxyConnectsAndTheServersFirstWordsAreNotLost() throws Exception {
    try (ServerSocket proxy = listen();
        TestNetwork test = new TestNetwork(through(proxy).build())) {
      int flow = test.agent.open(SERVER, 7);
      try (Socket proxied = proxy.accept()) {
        assertEquals(
            "CONNECT 93.184.216.34:7 HTTP/1.1\r\nHost: 93.184.216.34:7\r\n\r\n", head(proxied));
        assertTrue(test.agent.received().isEmpty());
        answer(proxied, "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nfirst words");
        test.agent.await(PlayedAgent.Opened.class, opened -> opened.flow() == flow);
        assertEquals("first words", test.agent.text(flow, 11));
        test.agent.data(flow, "to the server");
        assertEquals(
            "to the server", new String(proxied.getInputStream().readNBytes(13), ISO_8859_1));
      }
    }
  }

  @Test
  void anAddressOfIpv6IsWrittenAsOne() throws Exception {
    try (ServerSocket proxy = listen();
        TestNetwork test = new TestNetwork(through(proxy).build())) {
      test.agent.open("2606:2800:220:1::1", 443);
      try (Socket proxied = proxy.accept()) {
        assertTrue(head(proxied).startsWith("CONNECT [2606:2800:220:1::1]:443 HTTP/1.1\r\n"));
      }
    }
  }

  @Test
  void whatTheProxyAnswersIsTheFailure() throws Exception {
    try (ServerSocket proxy = listen();
        TestNetwork test = new TestNetwork(through(proxy).build())) {
      for (String answer :
          new String[] {
            "HTTP/1.1 403 Forbidden\r\n\r\n", "SSH-2.0-x\r\n\r\n", "x".repeat(9000), ""
          }) {
        int flow = test.agent.open(SERVER, 7);
        try (Socket proxied = proxy.accept()) {
          head(proxied);
          answer(proxied, answer);
        }
        assertEquals(Refusal.HOST_UNREACHABLE, test.agent.awaitRefused(flow));
        String failure = test.event(FlowFailed.class).failure();
        assertTrue(failure.startsWith("the proxy"), failure);
        assertTrue(!answer.contains("403") || failure.contains("403 Forbidden"), failure);
      }
    }
  }

  @Test
  void aProxyThatDoesNotAnswerIsGivenUp() throws Exception {
    try (ServerSocket proxy = listen();
        TestNetwork test =
            new TestNetwork(
                through(proxy)
                    .limits(NetworkLimits.builder().connectTimeout(Duration.ofMillis(100)).build())
                    .build())) {
      assertEquals(Refusal.TIMEOUT, test.agent.refusal(SERVER, 7));
    }
  }

  @Test
  void servicesOfTheHostsAndPrivateAddressesAreConnectedToWithoutIt() throws Exception {
    try (ServerSocket proxy = listen();
        ServerSocket service = listen();
        TestNetwork test =
            new TestNetwork(
                through(proxy)
                    .hostService(
                        "web",
                        new InetSocketAddress(
                            InetAddress.getLoopbackAddress(), service.getLocalPort()))
                    .build())) {
      int flow = test.agent.connect("198.18.1.1", service.getLocalPort());
      try (Socket peer = service.accept()) {
        test.agent.data(flow, "x");
        assertEquals('x', peer.getInputStream().read());
      }
    }
  }

  @Test
  void aProxyWhoseNameHasNoAddressFailsItsFlows() throws Exception {
    NetworkPolicy policy =
        NetworkPolicy.builder()
            .allow(Egress.internet())
            .upstreamProxy(URI.create("http://proxy.invalid:3128"))
            .build();
    try (TestNetwork test = new TestNetwork(policy)) {
      assertEquals(Refusal.HOST_UNREACHABLE, test.agent.refusal(SERVER, 7));
      assertTrue(test.event(FlowFailed.class).failure().contains("proxy"));
    }
  }

  @Test
  void udpPassesItOnlyWhereARuleNamesUdp() throws Exception {
    try (ServerSocket proxy = listen();
        DatagramSocket server = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      NetworkPolicy closed = through(proxy).build();
      try (TestNetwork test = new TestNetwork(closed)) {
        test.route(123, server.getLocalPort());
        Place time = new Place(AddressClassTest.ip(SERVER), 123, 40_000);
        test.agent.datagram(time, new byte[] {1});
        assertTrue(
            test.agent.await(PlayedAgent.Datagram.class, d -> d.place().equals(time)).refused());
        FlowDenied denied = test.event(FlowDenied.class);
        assertEquals(DenialReason.PROXY, denied.reason());
        assertEquals("internet", denied.rule());
        String line = test.agent.await(PlayedAgent.Denial.class, d -> true).line();
        assertTrue(line.contains("would not leave through the upstream proxy [PROXY"), line);

        test.update(closed.toBuilder().allow(Egress.addresses("93.184.216.0/24").udp(123)).build());
        test.agent.datagram(time, new byte[] {2});
        DatagramPacket came = new DatagramPacket(new byte[9], 9);
        server.receive(came);
        assertEquals(2, came.getData()[0]);
      }
    }
  }

  @Test
  void udpThatIsOpenEndsWhenAProxyComesUnlessARuleNamesIt() throws Exception {
    try (ServerSocket proxy = listen();
        DatagramSocket server = new DatagramSocket(0, InetAddress.getLoopbackAddress());
        TestNetwork test = new TestNetwork(NetworkPolicy.internet())) {
      test.route(123, server.getLocalPort());
      Place time = new Place(AddressClassTest.ip(SERVER), 123, 40_000);
      DatagramPacket came = new DatagramPacket(new byte[9], 9);
      test.agent.datagram(time, new byte[] {1});
      server.receive(came);
      int port = came.getPort();
      NetworkPolicy closed = through(proxy).build();
      test.update(closed.toBuilder().allow(Egress.addresses("93.184.216.0/24").udp(123)).build());
      test.agent.datagram(time, new byte[] {2});
      server.receive(came);
      assertEquals(port, came.getPort());
      test.update(closed);
      assertEquals(DenialReason.PROXY, test.event(FlowDenied.class).reason());
      assertEquals(0, test.network.statistics().openFlows());
      // Its socket is closed, so that nothing comes back by it.
      server.send(new DatagramPacket(new byte[] {3}, 1, came.getSocketAddress()));
      test.agent.datagram(time, new byte[] {4});
      assertTrue(
          test.agent.await(PlayedAgent.Datagram.class, d -> d.place().equals(time)).refused());
    }
  }

  @Test
  void whatLeftOtherwiseEndsWhenTheProxyChanges() throws Exception {
    try (ServerSocket proxy = listen();
        TestNetwork test = new TestNetwork(NetworkPolicy.internet());
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.update(through(proxy).build());
        Reset why = test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why();
        assertEquals(Reset.POLICY, why);
        assertEquals(DenialReason.PROXY, test.event(FlowDenied.class).reason());
        TestNetwork.assertReset(peer);
      }
      int through = test.agent.open(SERVER, 7);
      try (Socket proxied = proxy.accept()) {
        head(proxied);
        answer(proxied, "HTTP/1.1 200 OK\r\n\r\n");
        test.agent.await(PlayedAgent.Opened.class, opened -> opened.flow() == through);
        // Of the policy something else changes.
        test.update(through(proxy).allowMetadata(true).build());
        test.agent.data(through, "x");
        assertEquals('x', proxied.getInputStream().read());
      }
    }
  }
}
