// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.TestNetwork.SERVER;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.FreePort;
import dev.nacelle.net.FrameException.Violation;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.Frames.Reset;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent;
import dev.nacelle.network.NetworkEvent.End;
import dev.nacelle.network.NetworkEvent.FlowAllowed;
import dev.nacelle.network.NetworkEvent.FlowDenied;
import dev.nacelle.network.NetworkEvent.FlowEnded;
import dev.nacelle.network.NetworkEvent.FlowFailed;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkEvent.LinkLost;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.NetworkStatistics.RuleUse;
import dev.nacelle.network.Rate;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** What a guest's flows find at the host: a real agent's frames, and real sockets. */
@Timeout(60)
class HostNetworkTest {
  private static final NetworkPolicy INTERNET = NetworkPolicy.internet();
  private static final Place NAMELESS = new Place(AddressClassTest.ip(SERVER), 4433, 40_000);

  private static NetworkPolicy limited(NetworkLimits.Builder limits) {
    return NetworkPolicy.builder().allow(Egress.internet()).limits(limits.build()).build();
  }

  private static byte[] some(int count) {
    byte[] bytes = new byte[count];
    new Random(1).nextBytes(bytes);
    return bytes;
  }

  @Test
  void carriesBothWaysAndEachEndOnItsOwn() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.agent.data(flow, "to the server");
        assertEquals("to the server", new String(peer.getInputStream().readNBytes(13), ISO_8859_1));
        test.agent.fin(flow);
        assertEquals(-1, peer.getInputStream().read());
        peer.getOutputStream().write("to the guest".getBytes(ISO_8859_1));
        assertEquals("to the guest", test.agent.text(flow, 12));
      }
      test.agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
      FlowAllowed allowed = test.event(FlowAllowed.class);
      assertEquals(SERVER, allowed.flow().remote().getHostAddress());
      assertEquals(7, allowed.flow().port());
      assertEquals("internet", allowed.rule());
      FlowEnded ended = test.event(FlowEnded.class);
      assertEquals(allowed.flow(), ended.flow());
      assertEquals(13, ended.sent());
      assertEquals(12, ended.received());
      assertEquals(End.FINISHED, ended.end());
      NetworkStatistics statistics = test.network.statistics();
      assertEquals(13, statistics.sent());
      assertEquals(12, statistics.received());
      assertEquals(1, statistics.opened());
      assertEquals(0, statistics.openFlows());
      assertEquals(Map.of("internet", new RuleUse(1, 13, 12)), statistics.rules());
    }
  }

  @Test
  void whatNoRuleAllowsIsRefusedAndNothingIsDialled() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal());
        ServerSocket server = test.server(7)) {
      assertEquals(Refusal.POLICY, test.agent.refusal(SERVER, 7));
      FlowDenied denied = test.event(FlowDenied.class);
      assertEquals(DenialReason.NO_RULE, denied.reason());
      String line = test.agent.await(PlayedAgent.Denial.class, d -> true).line();
      assertTrue(line.endsWith(" TCP to 93.184.216.34 port 7: no rule allows it [NO_RULE]"), line);
      assertEquals(Map.of(DenialReason.NO_RULE, 1L), test.network.statistics().denied());
      server.setSoTimeout(50);
      assertThrows(java.net.SocketTimeoutException.class, server::accept);
    }
  }

  @Test
  void aServerThatRefusesIsToldAsThat() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET)) {
      test.route(7, FreePort.find());
      assertEquals(Refusal.REFUSED, test.agent.refusal(SERVER, 7));
      assertEquals(7, test.event(FlowFailed.class).flow().port());
      assertEquals(1, test.network.statistics().failed());
    }
  }

  @Test
  void aServerThatDoesNotAnswerIsGivenUp() throws Exception {
    NetworkPolicy policy = limited(NetworkLimits.builder().connectTimeout(Duration.ofMillis(100)));
    try (TestNetwork test = new TestNetwork(policy);
        ServerSocket full = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket first = new Socket(full.getInetAddress(), full.getLocalPort());
        Socket second = new Socket(full.getInetAddress(), full.getLocalPort())) {
      test.route(7, full.getLocalPort());
      assertEquals(Refusal.TIMEOUT, test.agent.refusal(SERVER, 7));
      assertTrue(first.isConnected() && second.isConnected());
    }
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "Wine shuts sockets down in order")
  void aServersResetReachesTheGuest() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        peer.setSoLinger(true, 0);
      }
      assertEquals(
          Reset.ABORTED, test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why());
      assertEquals(End.RESET_BY_PEER, test.event(FlowEnded.class).end());
    }
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "Wine shuts sockets down in order")
  void aServersResetAfterItsEndReachesTheGuest() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        peer.shutdownOutput();
        test.agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
        peer.setSoLinger(true, 0);
      }
      assertEquals(
          Reset.ABORTED, test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why());
      assertEquals(End.RESET_BY_PEER, test.event(FlowEnded.class).end());
      assertEquals(0, test.network.statistics().openFlows());
    }
  }

  @Test
  void aServerThatHasEndedIsSentToForAsLongAsItLikes() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        peer.shutdownOutput();
        test.agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
        // It is asked for errors meanwhile, and has none.
        Thread.sleep(EndedServers.INTERVAL.plusMillis(200).toMillis());
        test.agent.data(flow, "still there");
        assertEquals("still there", new String(peer.getInputStream().readNBytes(11), ISO_8859_1));
        test.agent.fin(flow);
        assertEquals(-1, peer.getInputStream().read());
      }
      assertEquals(End.FINISHED, test.event(FlowEnded.class).end());
    }
  }

  @Test
  void aGuestsResetReachesTheServer() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.agent.reset(flow, Reset.ABORTED);
        TestNetwork.assertReset(peer);
      }
      assertEquals(End.RESET_BY_SANDBOX, test.event(FlowEnded.class).end());
    }
  }

  @Test
  void aServerThatDoesNotReadHoldsItsFlowAndNoOther() throws Exception {
    byte[] content = some(8 << 20);
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int slow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        int window = 256 << 10;
        int sent = 0;
        int credit = window;
        Thread sender = null;
        // As long as there is credit: until the host's sockets are full.
        while (sent < content.length) {
          int count = Math.min(Math.min(credit, Frames.MAX_DATA), content.length - sent);
          if (count == 0) {
            if (sender == null && sent > 0) {
              int other = test.agent.connect(SERVER, 7);
              try (Socket second = server.accept()) {
                test.agent.data(other, "x");
                assertEquals('x', second.getInputStream().read());
              }
              sender = new Thread(() -> read(peer, content));
              sender.start();
            }
            credit += test.agent.await(PlayedAgent.Credited.class, c -> c.flow() == slow).amount();
            continue;
          }
          test.agent.data(slow, Arrays.copyOfRange(content, sent, sent + count));
          sent += count;
          credit -= count;
          PlayedAgent.Message more = next(test, slow);
          credit += more == null ? 0 : ((PlayedAgent.Credited) more).amount();
        }
        if (sender == null) {
          read(peer, content);
        } else {
          sender.join();
        }
        assertEquals(content.length + 1, test.network.statistics().sent());
      }
    }
  }

  private static PlayedAgent.Message next(TestNetwork test, int flow) {
    boolean there =
        test.agent.received().stream()
            .anyMatch(m -> m instanceof PlayedAgent.Credited c && c.flow() == flow);
    return there ? test.agent.await(PlayedAgent.Credited.class, c -> c.flow() == flow) : null;
  }

  private static void read(Socket peer, byte[] expected) {
    try {
      assertArrayEquals(expected, peer.getInputStream().readNBytes(expected.length));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void aGuestThatTakesNothingHoldsTheServerAndNoOtherFlow() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      test.agent.takeNothing();
      int full = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        Thread writer =
            new Thread(
                () -> {
                  try {
                    peer.getOutputStream().write(some(PlayedAgent.WINDOW + 1));
                  } catch (IOException e) {
                    // The test has ended.
                  }
                });
        writer.start();
        test.agent.bytes(full, PlayedAgent.WINDOW);
        int other = test.agent.connect(SERVER, 7);
        try (Socket second = server.accept()) {
          second.getOutputStream().write('x');
          assertEquals("x", test.agent.text(other, 1));
        }
        assertEquals(PlayedAgent.WINDOW + 1, test.network.statistics().received());
        test.agent.credit(full, 1);
        assertEquals(1, test.agent.bytes(full, 1).length);
        writer.join();
      }
    }
  }

  @Test
  void moreThanItsCreditEndsTheLink() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        ByteBuffer frame = ByteBuffer.allocate(Frames.HEADER + Frames.MAX_DATA);
        try {
          for (int i = 0; i < 1000; i++) {
            Frames.putDataHeader(frame.clear(), flow, Frames.MAX_DATA);
            test.agent.raw(frame.clear());
          }
        } catch (java.io.UncheckedIOException e) {
          // The link has ended.
        }
        test.agent.awaitEnd();
        assertTrue(test.event(LinkLost.class).reason().contains("OVER_CREDIT"));
        assertEquals(1, test.network.statistics().linksLost());
        assertEquals(0, test.network.statistics().openFlows());
        TestNetwork.assertReset(peer);
      }
    }
  }

  @Test
  void framesThatAFlowCannotHaveEndTheLink() throws Exception {
    endsTheLink(
        Violation.NOT_OPEN,
        (agent, flow) -> {
          agent.fin(flow);
          agent.fin(flow);
        });
    endsTheLink(
        Violation.NOT_OPEN,
        (agent, flow) -> {
          agent.fin(flow);
          agent.data(flow, "x");
        });
    endsTheLink(Violation.NOT_ASKED, (agent, flow) -> agent.accepted(2, 100));
    endsTheLink(Violation.NOT_ASKED, (agent, flow) -> agent.refused(2, Refusal.LIMIT));
    endsTheLink(Violation.TOO_MUCH_CREDIT, (agent, flow) -> agent.credit(flow, Frames.MAX_WINDOW));
    endsTheLink(
        Violation.WRONG_VALUE, (agent, flow) -> agent.open(NAMELESS, PlayedAgent.WINDOW + 1));
  }

  private static void endsTheLink(Violation violation, BiConsumer<PlayedAgent, Integer> what)
      throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      what.accept(test.agent, test.agent.connect(SERVER, 7));
      test.agent.awaitEnd();
      String reason = test.event(LinkLost.class).reason();
      assertTrue(reason.contains(violation.name()), reason);
      assertTrue(server.isBound());
    }
  }

  @Test
  void theSecondLinkIsRefusedAndTheFirstGoesOn() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        PlayedAgent second = new PlayedAgent();
        ServerSocket server = test.server(7)) {
      test.network.accept(second.connection());
      second.awaitEnd();
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.agent.data(flow, "x");
        assertEquals('x', peer.getInputStream().read());
      }
    }
  }

  @Test
  void whatLeavesIsLimitedTogether() throws Exception {
    NetworkPolicy policy =
        limited(NetworkLimits.builder().egress(Rate.perSecond(1).withBurst(10_000)));
    try (TestNetwork test = new TestNetwork(policy);
        ServerSocket server = test.server(7)) {
      int one = test.agent.connect(SERVER, 7);
      try (Socket first = server.accept()) {
        int two = test.agent.connect(SERVER, 7);
        try (Socket second = server.accept()) {
          byte[] content = some(8_000);
          test.agent.data(one, content);
          assertArrayEquals(content, first.getInputStream().readNBytes(8_000));
          test.agent.data(two, content);
          second.getInputStream().readNBytes(1_900);
          second.setSoTimeout(50);
          assertThrows(
              java.net.SocketTimeoutException.class,
              () -> second.getInputStream().readNBytes(1_000));
          second.setSoTimeout(0);
          test.update(INTERNET);
          test.agent.fin(two);
          assertTrue(second.getInputStream().readAllBytes().length > 4_000);
        }
      }
    }
  }

  private interface Served {
    void by(TestNetwork test, int flow, Socket peer) throws Exception;
  }

  /** Does something with a connection of a sandbox's with these limits, and with its server. */
  private static void withConnection(NetworkLimits.Builder limits, Served served) throws Exception {
    try (TestNetwork test = new TestNetwork(limited(limits));
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        served.by(test, flow, peer);
      }
    }
  }

  @Test
  void whatArrivesIsLimitedTogether() throws Exception {
    withConnection(
        NetworkLimits.builder().ingress(Rate.perSecond(1).withBurst(10_000)),
        (test, flow, peer) -> {
          peer.getOutputStream().write(some(20_000));
          assertEquals(10_000, test.agent.bytes(flow, 10_000).length);
          assertTrue(test.network.statistics().received() < 10_100);
          test.update(INTERNET);
          assertEquals(10_000, test.agent.bytes(flow, 10_000).length);
        });
  }

  @Test
  void aRateThatIsRaisedHoldsAtOnceForWhatWaited() throws Exception {
    withConnection(
        NetworkLimits.builder().ingress(Rate.perSecond(1).withBurst(10_000)),
        (test, flow, peer) -> {
          peer.getOutputStream().write(some(110_000));
          test.agent.bytes(flow, 10_000);
          // It would have waited for hours.
          Rate raised = Rate.perSecond(1_000_000).withBurst(10_000);
          test.update(limited(NetworkLimits.builder().ingress(raised)));
          test.agent.bytes(flow, 100_000);
        });
  }

  @Test
  void whatARateHeldBackDoesNotLeaveWithThePolicyThatEndsIt() throws Exception {
    Rate slow = Rate.perSecond(1).withBurst(1_000);
    NetworkLimits limits = NetworkLimits.builder().egress(slow).ingress(slow).build();
    for (NetworkPolicy next :
        List.of(
            NetworkPolicy.none(),
            NetworkPolicy.builder().allow(Egress.addresses(SERVER).tcp(8)).build())) {
      try (TestNetwork test =
              new TestNetwork(
                  NetworkPolicy.builder()
                      .allow(Egress.addresses(SERVER).tcp(7))
                      .limits(limits)
                      .build());
          ServerSocket server = test.server(7)) {
        int flow = test.agent.connect(SERVER, 7);
        try (Socket peer = server.accept()) {
          test.agent.data(flow, some(50_000));
          peer.getOutputStream().write(some(50_000));
          assertEquals(1_000, peer.getInputStream().readNBytes(1_000).length);
          test.agent.bytes(flow, 1_000);
          test.update(next);
          test.agent.await(PlayedAgent.Resets.class, resets -> resets.flow() == flow);
          assertEquals(0, bytesUntilReset(peer));
          assertEquals(1_000, test.network.statistics().received());
        }
      }
    }
  }

  private static int bytesUntilReset(Socket peer) {
    int count = 0;
    try {
      while (peer.getInputStream().read() >= 0) {
        count++;
      }
    } catch (IOException e) {
      // It was reset.
    }
    return count;
  }

  @Test
  void whatIsLimitedIsNotCutIntoCrumbs() throws Exception {
    withConnection(
        NetworkLimits.builder().ingress(Rate.perSecond(1_000_000).withBurst(10_000)),
        (test, flow, peer) -> {
          peer.getOutputStream().write(some(100_000));
          peer.shutdownOutput();
          test.agent.await(PlayedAgent.Fin.class, fin -> true);
          long frames =
              test.agent.received().stream()
                  .filter(PlayedAgent.Data.class::isInstance)
                  .filter(data -> data.flow() == flow)
                  .count();
          assertTrue(frames <= 60, () -> frames + " frames");
        });
  }

  @Test
  void whatIsLimitedArrivesInTime() throws Exception {
    Rate rate = Rate.perSecond(1_000_000).withBurst(10_000);
    withConnection(
        NetworkLimits.builder().ingress(rate).egress(rate),
        (test, flow, peer) -> {
          byte[] content = some(100_000);
          peer.getOutputStream().write(content);
          assertArrayEquals(content, test.agent.bytes(flow, content.length));
          byte[] answer = Arrays.copyOf(content, 60_000);
          test.agent.data(flow, answer);
          assertArrayEquals(answer, peer.getInputStream().readNBytes(60_000));
        });
  }

  @Test
  void flowsAreLimited() throws Exception {
    try (TestNetwork test = new TestNetwork(limited(NetworkLimits.builder().flows(1)));
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      assertEquals(Refusal.LIMIT, test.agent.refusal(SERVER, 7));
      assertEquals(Limit.FLOWS, test.event(LimitReached.class).limit());
      assertEquals(Map.of(DenialReason.LIMIT, 1L), test.network.statistics().denied());
      test.agent.reset(flow, Reset.ABORTED);
      test.agent.connect(SERVER, 7);
      assertTrue(server.isBound());
    }
  }

  @Test
  void opensAreLimited() throws Exception {
    NetworkPolicy policy = limited(NetworkLimits.builder().opens(new Rate(1, 2)));
    try (TestNetwork test = new TestNetwork(policy);
        ServerSocket server = test.server(7)) {
      test.agent.connect(SERVER, 7);
      test.agent.connect(SERVER, 7);
      for (int i = 0; i < 100; i++) {
        test.agent.open(SERVER, 7);
      }
      test.agent.await(PlayedAgent.Refused.class, r -> r.why() == Refusal.LIMIT);
      assertEquals(Limit.OPENS, test.event(LimitReached.class).limit());
      assertTrue(server.isBound());
    }
  }

  @Test
  void datagramsGoBothWays() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        DatagramSocket server = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      test.route(4433, server.getLocalPort());
      test.agent.datagram(NAMELESS, "question".getBytes(ISO_8859_1));
      DatagramPacket packet = new DatagramPacket(new byte[2000], 2000);
      server.receive(packet);
      assertEquals("question", new String(packet.getData(), 0, packet.getLength(), ISO_8859_1));
      for (int length : new int[] {6, 0}) {
        packet.setData(new byte[length]);
        server.send(packet);
        PlayedAgent.Datagram answer = test.agent.await(PlayedAgent.Datagram.class, d -> true);
        assertEquals(NAMELESS, answer.place());
        assertEquals(length, answer.bytes().length);
      }
      assertEquals(8, test.network.statistics().sent());
      assertEquals(1, test.network.statistics().openUdpSessions());
    }
  }

  @Test
  @DisabledOnOs(
      value = OS.WINDOWS,
      disabledReason = "Wine does not tell that nobody takes a datagram")
  void aDatagramThatNobodyTakesIsSaidToBeRefused() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET)) {
      test.route(4433, FreePort.find());
      test.agent.datagram(NAMELESS, new byte[1]);
      assertTrue(test.agent.await(PlayedAgent.Datagram.class, d -> true).refused());
    }
  }

  @Test
  void aDatagramThatIsDeniedIsRefusedAtOnce() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal())) {
      test.agent.datagram(NAMELESS, new byte[1]);
      assertTrue(test.agent.await(PlayedAgent.Datagram.class, d -> true).refused());
      assertEquals(DenialReason.NO_RULE, test.event(FlowDenied.class).reason());
    }
  }

  @Test
  void aPingIsSaidToBeProhibited() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET)) {
      Place place = new Place(AddressClassTest.ip(SERVER), 1, 77);
      test.agent.echo(place, new byte[56]);
      PlayedAgent.Echo answer = test.agent.await(PlayedAgent.Echo.class, e -> true);
      assertEquals(place, answer.place());
      assertTrue(answer.refused());
    }
  }

  @Test
  void anotherPolicyCountsForWhatIsOpen() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.update(
            NetworkPolicy.builder()
                .allow(Egress.internet())
                .deny(Egress.addresses(SERVER).named("not that one"))
                .build());
        assertEquals(
            Reset.POLICY, test.agent.await(PlayedAgent.Resets.class, r -> r.flow() == flow).why());
        TestNetwork.assertReset(peer);
        FlowDenied denied = test.event(FlowDenied.class);
        assertEquals("not that one", denied.rule());
        assertEquals(DenialReason.RULE, denied.reason());
        assertEquals(End.DENIED, test.event(FlowEnded.class).end());
        assertEquals(Refusal.POLICY, test.agent.refusal(SERVER, 7));
        test.update(INTERNET);
        test.agent.connect(SERVER, 7);
      }
    }
  }

  @Test
  void ofUpdatesAtOnceOneComesAfterTheOther() throws Exception {
    NetworkPolicy seven = NetworkPolicy.builder().allow(Egress.addresses(SERVER).tcp(7)).build();
    NetworkPolicy eight = NetworkPolicy.builder().allow(Egress.addresses(SERVER).tcp(8)).build();
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket one = test.server(7);
        ServerSocket other = test.server(8)) {
      List<Integer> flows = List.of(test.agent.connect(SERVER, 7), test.agent.connect(SERVER, 8));
      CompletableFuture.allOf(
              Stream.of(seven, eight)
                  .map(policy -> CompletableFuture.runAsync(() -> test.update(policy)))
                  .toArray(CompletableFuture[]::new))
          .join();
      // Both have counted for what was open, and the last one counts for what comes.
      for (int flow : flows) {
        test.agent.await(PlayedAgent.Resets.class, resets -> resets.flow() == flow);
      }
      int first = test.agent.open(SERVER, 7);
      int second = test.agent.open(SERVER, 8);
      PlayedAgent.Message answer = test.agent.await(PlayedAgent.Opened.class, opened -> true);
      int refused = answer.flow() == first ? second : first;
      assertEquals(Refusal.POLICY, test.agent.awaitRefused(refused));
      assertEquals(1, test.network.statistics().openFlows());
    }
  }

  @Test
  void whereTheHostsAddressesAreIsAskedThoughNothingIsConnected() throws Exception {
    Semaphore asked = new Semaphore(0);
    Surroundings surroundings =
        new Surroundings(
            address -> {
              asked.release();
              return false;
            },
            false,
            NameServers.of(List.of()),
            NetworkMemory.ofRuntime(),
            address -> address);
    try (NetworkLoop loop = new NetworkLoop("test-network");
        HostNetwork network =
            TestNetwork.host(loop, surroundings, INTERNET, new Publisher(List.of()));
        PlayedAgent agent = PlayedAgent.of(network)) {
      asked.acquire(2);
    }
  }

  @Test
  void aFlowThatThePolicyStillAllowsGoesOn() throws Exception {
    try (TestNetwork test = new TestNetwork(INTERNET);
        ServerSocket server = test.server(7)) {
      int flow = test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.update(NetworkPolicy.builder().allow(Egress.addresses(SERVER).tcp(7)).build());
        test.agent.data(flow, "x");
        assertEquals('x', peer.getInputStream().read());
      }
    }
  }

  @Test
  void aServiceThatIsTakenBackIsReachedNoMoreAndItsAddressIsNobodyElses() throws Exception {
    try (ServerSocket one = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
        ServerSocket two = new ServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
      NetworkPolicy both =
          NetworkPolicy.builder()
              .hostService("one", new InetSocketAddress("127.0.0.1", one.getLocalPort()))
              .hostService("two", new InetSocketAddress("127.0.0.1", two.getLocalPort()))
              .build();
      try (TestNetwork test = new TestNetwork(both)) {
        int first = test.agent.connect("198.18.1.1", one.getLocalPort());
        int second = test.agent.connect("198.18.1.2", two.getLocalPort());
        try (Socket toOne = one.accept();
            Socket toTwo = two.accept()) {
          test.update(both.toBuilder().removeHostService("one").build());
          TestNetwork.assertReset(toOne);
          test.agent.await(PlayedAgent.Resets.class, reset -> reset.flow() == first);
          test.agent.data(second, "x");
          assertEquals('x', toTwo.getInputStream().read());
          assertEquals(Refusal.POLICY, test.agent.refusal("198.18.1.1", two.getLocalPort()));
          // The same name with another server is another service.
          test.update(
              both.toBuilder()
                  .removeHostService("two")
                  .hostService("two", new InetSocketAddress("127.0.0.2", two.getLocalPort()))
                  .build());
          TestNetwork.assertReset(toTwo);
        }
      }
    }
  }

  @Test
  void closingEndsAllAtOnceAndIsNoLossOfTheLink() throws Exception {
    TestNetwork test = new TestNetwork(INTERNET);
    try (ServerSocket server = test.server(7)) {
      test.agent.connect(SERVER, 7);
      try (Socket peer = server.accept()) {
        test.network.close();
        test.network.close();
        TestNetwork.assertReset(peer);
        test.agent.awaitEnd();
        assertEquals(End.NETWORK_ENDED, test.event(FlowEnded.class).end());
        assertEquals(0, test.network.statistics().linksLost());
        assertEquals(1, test.network.statistics().opened());
      }
    } finally {
      test.close();
    }
  }

  @Test
  void eventsAreBoundedAndTheRestIsCounted() throws Exception {
    try (TestNetwork test = new TestNetwork(NetworkPolicy.internal())) {
      // All at once, for there is room for more events with time.
      ByteBuffer out = ByteBuffer.allocate(64 << 10);
      for (int i = 0; i < 300; i++) {
        HostileGuestTest.putOpen(out, 2 * i + 1, AddressClassTest.ip(SERVER));
      }
      test.agent.raw(out.flip());
      test.agent.await(PlayedAgent.Refused.class, r -> r.flow() == 599);
      NetworkStatistics statistics = test.network.statistics();
      assertTrue(statistics.eventsLost() >= 100, () -> "lost " + statistics.eventsLost());
      assertEquals(300, statistics.denied().values().stream().mapToLong(Long::longValue).sum());
      NetworkEvent event = test.event(FlowDenied.class);
      assertEquals("sandbox", event.sandboxId());
    }
  }
}
