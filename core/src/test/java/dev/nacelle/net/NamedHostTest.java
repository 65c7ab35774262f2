// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.FlowDenied;
import dev.nacelle.network.NetworkEvent.FlowEnded;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkPolicy;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Flows that are allowed by name: what leaves for the server, and when. */
@Timeout(60)
class NamedHostTest {
  private static final NetworkPolicy WEB =
      NetworkPolicy.builder().allow(Egress.web("a.example", "*.b.example")).build();

  /** A flow, and its server's end. */
  private record Both(TestNetwork test, int flow, Socket peer) implements AutoCloseable {
    static Both connect(NetworkPolicy policy, int port, String... names) throws IOException {
      TestNetwork test = new TestNetwork(policy);
      for (String name : names) {
        test.told(name);
      }
      try (ServerSocket server = test.server(port)) {
        int flow = test.agent.connect(SERVER, port);
        return new Both(test, flow, server.accept());
      }
    }

    void arrives(byte[] bytes) throws IOException {
      assertArrayEquals(bytes, peer.getInputStream().readNBytes(bytes.length));
    }

    void arrives(String text) throws IOException {
      arrives(text.getBytes(ISO_8859_1));
    }

    /** The server is reset, and has got nothing more. */
    void isDenied(DenialReason reason, String said) throws Exception {
      Reset why = test.agent.await(PlayedAgent.Resets.class, reset -> true).why();
      assertEquals(Reset.POLICY, why);
      FlowDenied denied = test.event(FlowDenied.class);
      assertEquals(reason, denied.reason());
      assertEquals(said, denied.said());
      assertEquals(End.DENIED, test.event(FlowEnded.class).end());
      String line = test.agent.await(PlayedAgent.Denial.class, d -> true).line();
      assertTrue(line.contains(reason.name()) && line.contains(said), line);
      TestNetwork.assertReset(peer);
    }

    @Override
    public void close() throws IOException {
      peer.close();
      test.close();
    }
  }

  private static byte[] hello(String name) throws Exception {
    return ClientHelloTest.java(name, "TLSv1.3");
  }

  /** A record with a ServerHello of that random. */
  private static byte[] answer(String random) {
    return HexFormat.of().parseHex("160303002a" + "02000026" + "0303" + random + "00130100");
  }

  private static final byte[] SERVER_HELLO = answer("11".repeat(32));
  private static final byte[] RETRY =
      answer("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");

  @Test
  void aHandshakeLeavesWhenItsNameIsRight() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      byte[] hello = hello("a.example");
      for (byte octet : hello) {
        flow.test.agent.data(flow.flow, new byte[] {octet});
      }
      flow.arrives(hello);
      // What follows waits for the server's answer, which might ask for another.
      flow.test.agent.data(flow.flow, "what follows");
      flow.peer.getOutputStream().write(SERVER_HELLO);
      flow.arrives("what follows");
      flow.test.agent.data(flow.flow, "and more");
      flow.arrives("and more");
      assertArrayEquals(SERVER_HELLO, flow.test.agent.bytes(flow.flow, SERVER_HELLO.length));
    }
  }

  @Test
  void ofAHandshakeWithAnotherNameNothingLeaves() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      flow.test.agent.data(flow.flow, hello("neighbour.example"));
      flow.isDenied(DenialReason.SNI_MISMATCH, "neighbour.example");
    }
  }

  @Test
  void ofAHandshakeWithoutANameNothingLeaves() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      flow.test.agent.data(flow.flow, hello(""));
      flow.isDenied(DenialReason.SNI_MISMATCH, "");
    }
  }

  @Test
  void aNameThatIsAllowedAndNotOfThatAddressIsDenied() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      flow.test.agent.data(flow.flow, hello("c.b.example"));
      flow.isDenied(DenialReason.SNI_MISMATCH, "c.b.example");
    }
  }

  @Test
  void whatIsNoHandshakeIsDenied() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      flow.test.agent.data(flow.flow, "SSH-2.0-x\r\n");
      flow.isDenied(DenialReason.WRONG_PROTOCOL, "");
    }
  }

  @Test
  void aHandshakeThatEndsHalfwayIsDenied() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      flow.test.agent.data(flow.flow, Arrays.copyOf(hello("a.example"), 40));
      flow.test.agent.fin(flow.flow);
      flow.isDenied(DenialReason.WRONG_PROTOCOL, "");
    }
  }

  @Test
  void theSecondHandshakeThatAServerAsksForIsLookedAtToo() throws Exception {
    for (String second : List.of("a.example", "neighbour.example")) {
      try (Both flow = Both.connect(WEB, 443, "a.example")) {
        byte[] hello = hello("a.example");
        flow.test.agent.data(flow.flow, hello);
        flow.arrives(hello);
        flow.peer.getOutputStream().write(RETRY);
        flow.test.agent.bytes(flow.flow, RETRY.length);
        flow.test.agent.data(flow.flow, hello(second));
        if (second.equals("a.example")) {
          flow.arrives(hello(second).length > 0 ? new byte[0] : new byte[1]);
          flow.test.agent.data(flow.flow, "what follows");
          byte[] all = flow.peer.getInputStream().readNBytes(hello.length + 12);
          assertTrue(new String(all, ISO_8859_1).endsWith("what follows"));
        } else {
          flow.isDenied(DenialReason.SNI_MISMATCH, second);
        }
      }
    }
  }

  @Test
  void aServerThatSpeaksFirstIsHeard() throws Exception {
    NetworkPolicy policy = NetworkPolicy.builder().allow(Egress.tcp("a.example", 22)).build();
    try (Both flow = Both.connect(policy, 22, "a.example")) {
      flow.peer.getOutputStream().write("SSH-2.0-server\r\n".getBytes(ISO_8859_1));
      assertEquals("SSH-2.0-server\r\n", flow.test.agent.text(flow.flow, 16));
      flow.test.agent.data(flow.flow, "SSH-2.0-client\r\n");
      flow.arrives("SSH-2.0-client\r\n");
    }
  }

  @Test
  void theHostOfEveryRequestIsLookedAt() throws Exception {
    try (Both flow = Both.connect(WEB, 80, "a.example", "c.b.example")) {
      String first = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n12345";
      String second = "GET / HTTP/1.1\r\nHost: c.b.example\r\n\r\n";
      flow.test.agent.data(flow.flow, first + second);
      flow.arrives(first + second);
      String third = "GET /x HTTP/1.1\r\nHost: neighbour.example\r\n\r\n";
      flow.test.agent.data(flow.flow, third.substring(0, 10));
      flow.test.agent.data(flow.flow, third.substring(10));
      flow.isDenied(DenialReason.HOST_MISMATCH, "neighbour.example");
    }
  }

  @Test
  void whatStandsBehindAnAllowedRequestDoesNotLeaveBeforeItIsLookedAt() throws Exception {
    try (Both flow = Both.connect(WEB, 80, "a.example")) {
      String first = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
      flow.test.agent.data(flow.flow, first + "GET / HTTP/1.1\r\nHost: nei");
      flow.arrives(first);
      flow.peer.setSoTimeout(50);
      assertThrows(java.net.SocketTimeoutException.class, () -> flow.peer.getInputStream().read());
      flow.test.agent.data(flow.flow, "ghbour.example\r\n\r\n");
      flow.peer.setSoTimeout(0);
      flow.isDenied(DenialReason.HOST_MISMATCH, "neighbour.example");
    }
  }

  @Test
  void afterASwitchToWebSocketEverythingPasses() throws Exception {
    try (Both flow = Both.connect(WEB, 80, "a.example")) {
      String request =
          "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
      flow.test.agent.data(flow.flow, request + "frames");
      flow.arrives(request);
      flow.peer
          .getOutputStream()
          .write(
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
                  .getBytes(ISO_8859_1));
      flow.arrives("frames");
      flow.test.agent.data(flow.flow, "more frames");
      flow.arrives("more frames");
    }
  }

  @Test
  void whatIsHeldLeavesWhereNobodyLooksAtItAnyMore() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      byte[] part = Arrays.copyOf(hello("neighbour.example"), 40);
      flow.test.agent.data(flow.flow, part);
      flow.test.update(NetworkPolicy.internet());
      flow.arrives(part);
      flow.test.agent.data(flow.flow, "anything");
      flow.arrives("anything");
    }
  }

  @Test
  void aServerThatEndsInThePlaceOfItsAnswerEndsTheFlow() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      byte[] hello = hello("a.example");
      flow.test.agent.data(flow.flow, hello);
      flow.arrives(hello);
      flow.test.agent.data(flow.flow, "what waits for the answer");
      flow.peer.shutdownOutput();
      Reset why = flow.test.agent.await(PlayedAgent.Resets.class, reset -> true).why();
      assertEquals(Reset.ABORTED, why);
      assertEquals(0, flow.test.network.statistics().openFlows());
    }
  }

  @Test
  void anAddressThatWasNotResolvedIsRefused() throws Exception {
    try (TestNetwork test = new TestNetwork(WEB)) {
      assertEquals(Refusal.POLICY, test.agent.refusal(SERVER, 443));
      assertEquals(DenialReason.NOT_RESOLVED, test.event(FlowDenied.class).reason());
    }
  }

  @Test
  void anotherPolicyJudgesTheNameThatWasSent() throws Exception {
    try (Both flow = Both.connect(WEB, 443, "a.example", "c.b.example")) {
      byte[] hello = hello("a.example");
      flow.test.agent.data(flow.flow, hello);
      flow.arrives(hello);
      flow.peer.getOutputStream().write(SERVER_HELLO);
      flow.test.agent.bytes(flow.flow, SERVER_HELLO.length);
      flow.test.update(NetworkPolicy.builder().allow(Egress.https("a.example")).build());
      flow.test.agent.data(flow.flow, "x");
      flow.arrives("x");
      flow.test.update(NetworkPolicy.builder().allow(Egress.https("*.b.example")).build());
      flow.isDenied(DenialReason.SNI_MISMATCH, "a.example");
    }
  }

  @Test
  void headsTakeOfTheNetworksMemory() throws Exception {
    try (Both flow = Both.connect(WEB, 80, "a.example")) {
      String begin = "GET / HTTP/1.1\r\nHost: a.example\r\nX: " + "x".repeat(9_000);
      flow.test.agent.data(flow.flow, begin);
      // What is held, and what it is read in.
      awaitMemory(flow.test, (16 << 10) + (16 << 10));
      flow.test.agent.data(flow.flow, "\r\n\r\n");
      flow.arrives(begin + "\r\n\r\n");
      awaitMemory(flow.test, 0);
    }
    try (Both flow = Both.connect(WEB, 443, "a.example")) {
      flow.test.agent.data(flow.flow, Arrays.copyOf(hello("a.example"), 20));
      awaitMemory(flow.test, (16 << 10) + 512);
      flow.test.agent.reset(flow.flow, Reset.ABORTED);
      awaitMemory(flow.test, 0);
    }
  }

  private static void awaitMemory(TestNetwork test, long bytes) throws InterruptedException {
    for (int i = 0; i < 2_000 && test.memory.used() != bytes; i++) {
      Thread.sleep(10);
    }
    assertEquals(bytes, test.memory.used());
  }

  @Test
  void aHeadForWhichThereIsNoMemoryEndsItsFlow() throws Exception {
    // Of which one network may have a quarter: enough for what is held, and not for the head.
    try (TestNetwork test = new TestNetwork(WEB, new NetworkMemory(4 * (20 << 10)));
        ServerSocket server = test.server(80)) {
      test.told("a.example");
      int flow = test.agent.connect(SERVER, 80);
      test.agent.data(flow, "GET / HTTP/1.1\r\nHost: a.example\r\nX: " + "x".repeat(9_000));
      assertEquals(
          Reset.LIMIT, test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why());
      assertEquals(Limit.MEMORY, test.event(LimitReached.class).limit());
      awaitMemory(test, 0);
      assertTrue(server.isBound());
    }
  }
}
