// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.DnsMessage.FORMERR;
import static dev.nacelle.net.DnsMessage.NOERROR;
import static dev.nacelle.net.DnsMessage.REFUSED;
import static dev.nacelle.net.DnsMessage.SERVFAIL;
import static dev.nacelle.net.DnsType.A;
import static dev.nacelle.net.DnsType.TXT;
import static dev.nacelle.net.PlayedNameServer.answer;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.internal.FreePort;
import dev.nacelle.internal.OpenFiles;
import dev.nacelle.net.PlayedNameServer.Asked;
import dev.nacelle.net.PlayedNameServer.Entry;
import dev.nacelle.net.Resolver.Outcome;
import java.io.EOFException;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** How name servers are asked that answer well, wrongly, late or not at all. */
@Timeout(60)
class ResolverTest {
  private static final String NAME = "a.example";
  private static final String ADDRESS = "93.184.216.34";

  /** More than it takes to answer, whatever else this machine does. */
  private static final Duration LONG = Duration.ofSeconds(15);

  private static final Duration SHORT = Duration.ofMillis(100);

  /** How far the loop's clock is ahead. */
  private final AtomicLong ahead = new AtomicLong();

  private final NetworkLoop loop =
      new NetworkLoop("test-resolver", new LoopBuffers(), () -> System.nanoTime() + ahead.get());
  private final List<Resolver> resolvers = new ArrayList<>();
  private PlayedNameServer first;
  private PlayedNameServer second;

  @BeforeEach
  void begin() throws IOException {
    first = new PlayedNameServer();
    second = new PlayedNameServer();
  }

  @AfterEach
  void end() throws IOException {
    loop.execute(() -> resolvers.forEach(Resolver::close));
    loop.close();
    first.close();
    second.close();
  }

  private Resolver resolver(Duration patience, PlayedNameServer... servers) {
    List<InetSocketAddress> addresses = Stream.of(servers).map(PlayedNameServer::address).toList();
    return resolver(NameServers.of(addresses, patience));
  }

  private Resolver resolver(NameServers servers) {
    Resolver resolver = new Resolver(loop, servers);
    resolvers.add(resolver);
    return resolver;
  }

  private CompletableFuture<Outcome> send(Resolver resolver, int type) {
    CompletableFuture<Outcome> outcome = new CompletableFuture<>();
    loop.execute(() -> resolver.ask(NAME, type, outcome::complete));
    return outcome;
  }

  private Outcome ask(Resolver resolver, int type) throws Exception {
    return send(resolver, type).get(50, TimeUnit.SECONDS);
  }

  /** The patience of {@link #LONG} is over when a server has been asked so often. */
  private void passWhenAsked(PlayedNameServer server, int times) throws InterruptedException {
    for (int i = 0; i < 5_000 && server.asked().size() < times; i++) {
      Thread.sleep(10);
    }
    loop.execute(() -> ahead.addAndGet(LONG.toNanos()));
  }

  private static void assertAddress(Outcome outcome) {
    assertEquals("", outcome.failure());
    assertEquals(ADDRESS, outcome.answer().addresses().get(0).toString());
  }

  private static byte[] good(Asked asked) {
    return answer(asked, NOERROR, false, Entry.address(NAME, ADDRESS, 60));
  }

  @Test
  void eachQuestionHasANumberAndAPortOfItsOwn() throws Exception {
    first.has(NAME, ADDRESS);
    Resolver resolver = resolver(LONG, first, second);
    for (int i = 0; i < 50; i++) {
      assertAddress(ask(resolver, A));
    }
    assertEquals(50, first.asked().size());
    assertEquals(List.of(), second.asked());
    Set<Integer> ids = new HashSet<>();
    Set<Integer> ports = new HashSet<>();
    for (Asked asked : first.asked()) {
      ids.add(asked.id());
      ports.add(asked.from().getPort());
      assertTrue(asked.edns());
    }
    assertTrue(ids.size() > 45, ids.toString());
    assertTrue(ports.size() > 45, ports.toString());
  }

  @Test
  void thatThereIsNoSuchNameIsAnAnswer() throws Exception {
    Outcome outcome = ask(resolver(LONG, first, second), A);
    assertEquals(DnsMessage.NXDOMAIN, outcome.answer().rcode());
    assertEquals(List.of(), second.asked());
  }

  @Test
  void whoSaysNothingIsFollowedByTheNextAndNotAskedFirstAgain() throws Exception {
    first.silent(NAME, A);
    second.has(NAME, ADDRESS);
    Resolver resolver = resolver(LONG, first, second);
    CompletableFuture<Outcome> outcome = send(resolver, A);
    passWhenAsked(first, 1);
    assertAddress(outcome.get(50, TimeUnit.SECONDS));
    assertAddress(ask(resolver, A));
    assertEquals(1, first.asked().size());
    assertEquals(2, second.asked().size());
  }

  @Test
  void whoIsLateIsHeardAllTheSame() throws Exception {
    List<Asked> asked = new ArrayList<>();
    first.answers(
        NAME,
        A,
        question -> {
          asked.add(question);
          // The first question's answer comes after the third was asked.
          return asked.size() < 3 ? List.of() : answerTo(asked.get(0));
        });
    CompletableFuture<Outcome> outcome = send(resolver(LONG, first), A);
    passWhenAsked(first, 1);
    passWhenAsked(first, 2);
    assertAddress(outcome.get(50, TimeUnit.SECONDS));
    assertEquals(3, asked.size());
  }

  private List<byte[]> answerTo(Asked asked) throws IOException {
    first.send(good(asked), asked.from());
    return List.of();
  }

  @Test
  void whereNobodyAnswersItFails() throws Exception {
    first.silent(NAME, A);
    second.silent(NAME, A);
    Outcome outcome = ask(resolver(SHORT, first, second), A);
    assertNull(outcome.answer());
    assertTrue(outcome.failure().endsWith("no answer in time"), outcome.failure());
    // The last question may not have come yet.
    for (int i = 0; i < 200 && first.asked().size() + second.asked().size() < 3; i++) {
      Thread.sleep(100);
    }
    assertEquals(2, first.asked().size());
    assertEquals(1, second.asked().size());
    assertTrue(first.asked().get(0).edns());
    assertFalse(first.asked().get(1).edns(), "who does not know EDNS may say nothing");
  }

  @Test
  void errorsAreFollowedByTheNextAtOnce() throws Exception {
    first.answers(NAME, A, asked -> List.of(answer(asked, SERVFAIL, false)));
    second.has(NAME, ADDRESS);
    assertAddress(ask(resolver(LONG, first, second), A));
    second.answers(NAME, A, asked -> List.of(answer(asked, REFUSED, false)));
    Outcome outcome = ask(resolver(LONG, first, second), A);
    assertNull(outcome.answer());
    assertTrue(outcome.failure().contains("error"), outcome.failure());
  }

  @Test
  @DisabledOnOs(value = OS.WINDOWS, disabledReason = "Wine does not say that a port is unreachable")
  void whereNobodyIsThereTheNextIsAskedAtOnce() throws Exception {
    InetSocketAddress nobody =
        new InetSocketAddress(InetAddress.getLoopbackAddress(), FreePort.find());
    first.has(NAME, ADDRESS);
    assertAddress(ask(resolver(NameServers.of(List.of(nobody, first.address()), LONG)), A));
    Outcome alone = ask(resolver(NameServers.of(List.of(nobody), LONG)), A);
    assertTrue(alone.failure().endsWith("nobody is there"), alone.failure());
  }

  @Test
  void whoDoesNotKnowEdnsIsAskedWithout() throws Exception {
    first.answers(
        NAME, A, asked -> List.of(asked.edns() ? answer(asked, FORMERR, false) : good(asked)));
    assertAddress(ask(resolver(LONG, first, second), A));
    assertEquals(2, first.asked().size());
    assertEquals(List.of(), second.asked());
  }

  @Test
  void whatWasNotAskedIsNotLookedAt() throws Exception {
    first.answers(
        NAME,
        A,
        asked -> {
          byte[] wrong = answer(asked, NOERROR, false, Entry.address(NAME, "192.0.2.66", 60));
          wrong[0]++;
          // From another port, with all else right.
          try (DatagramSocket other = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
            byte[] forged = answer(asked, NOERROR, false, Entry.address(NAME, "192.0.2.67", 60));
            other.send(new DatagramPacket(forged, forged.length, asked.from()));
          }
          return List.of(wrong, new byte[0], new byte[1], wrong, good(asked));
        });
    assertAddress(ask(resolver(LONG, first), A));
    assertEquals(1, first.asked().size());
  }

  @Test
  void whoGuessesIsGivenUp() throws Exception {
    first.answers(
        NAME,
        A,
        asked -> {
          byte[] wrong = good(asked);
          wrong[1]++;
          return IntStream.range(0, 16).mapToObj(i -> wrong).toList();
        });
    second.has(NAME, ADDRESS);
    assertAddress(ask(resolver(LONG, first, second), A));
    assertEquals(1, second.asked().size());
  }

  @Test
  void garbageIsFollowedByTheNext() throws Exception {
    List<byte[]> tails =
        List.of(
            new byte[0],
            new byte[] {(byte) 0x81, (byte) 0x80},
            new byte[] {(byte) 0x81, (byte) 0x80, 0, 1, -1, -1, 0, 0, 0, 0, 0, 0, 1, 0, 1},
            new byte[1500]);
    for (byte[] tail : tails) {
      first.answers(
          NAME, A, asked -> List.of(new DnsWriter().u16(asked.id()).bytes(tail).toByteArray()));
      second.has(NAME, ADDRESS);
      assertAddress(ask(resolver(LONG, first, second), A));
      Outcome outcome = ask(resolver(LONG, first), A);
      assertNull(outcome.answer());
    }
    first.answers(
        NAME,
        A,
        asked ->
            List.of(answer(asked, NOERROR, false, Entry.alias(NAME, "b"), Entry.alias("b", NAME))));
    assertNull(ask(resolver(LONG, first), A).answer());
  }

  @Test
  void whatDoesNotFitIsAskedForOverTcp() throws Exception {
    byte[] text = new byte[256];
    text[0] = (byte) 255;
    Entry[] many =
        IntStream.range(0, 64).mapToObj(i -> new Entry(NAME, TXT, 60, text)).toArray(Entry[]::new);
    first.answers(
        NAME,
        TXT,
        asked ->
            List.of(
                asked.tcp() ? answer(asked, NOERROR, false, many) : answer(asked, NOERROR, true)));
    Outcome outcome = ask(resolver(LONG, first, second), TXT);
    assertEquals(64, outcome.answer().data().size());
    assertEquals(2, first.asked().size());
    assertFalse(first.asked().get(0).id() == first.asked().get(1).id());
    assertEquals(List.of(), second.asked());
  }

  @Test
  void tcpThatFailsIsFollowedByTheNext() throws Exception {
    second.has(NAME, ADDRESS);
    // Cut, too; another question's; and nothing at all.
    first.answers(NAME, A, asked -> List.of(answer(asked, NOERROR, true)));
    assertAddress(ask(resolver(LONG, first, second), A));
    first.answers(
        NAME,
        A,
        asked -> {
          byte[] answer = asked.tcp() ? good(asked) : answer(asked, NOERROR, true);
          answer[0] += asked.tcp() ? 1 : 0;
          return List.of(answer);
        });
    assertAddress(ask(resolver(LONG, first, second), A));
    first.answers(
        NAME,
        A,
        asked -> {
          if (asked.tcp()) {
            throw new EOFException("it ends the connection");
          }
          return List.of(answer(asked, NOERROR, true));
        });
    assertAddress(ask(resolver(LONG, first, second), A));
    first.answers(
        NAME, A, asked -> asked.tcp() ? List.of() : List.of(answer(asked, NOERROR, true)));
    assertAddress(ask(resolver(Duration.ofMillis(2500), first, second), A));
  }

  @Test
  void tcpThatNobodyTakesIsFollowedByTheNext() throws Exception {
    second.has(NAME, ADDRESS);
    try (DatagramSocket udp = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
      InetSocketAddress address = (InetSocketAddress) udp.getLocalSocketAddress();
      CompletableFuture<Void> cut =
          CompletableFuture.runAsync(
              () -> {
                try {
                  DatagramPacket packet = new DatagramPacket(new byte[512], 512);
                  udp.receive(packet);
                  Asked asked = new Asked(NAME, A, false, packet.getData(), null);
                  byte[] reply = answer(asked, NOERROR, true);
                  udp.send(new DatagramPacket(reply, reply.length, packet.getSocketAddress()));
                } catch (IOException e) {
                  throw new AssertionError(e);
                }
              });
      Resolver resolver = resolver(NameServers.of(List.of(address, second.address()), LONG));
      assertAddress(ask(resolver, A));
      cut.get(50, TimeUnit.SECONDS);
    }
  }

  @Test
  void whoWasAskedHasItsTimeThoughNobodyElseCanBe() throws Exception {
    InetSocketAddress nobody = InetSocketAddress.createUnresolved("dns.example", 53);
    List<InetSocketAddress> servers = List.of(first.address(), nobody, nobody);
    first.answers(
        NAME,
        A,
        asked -> {
          // Until the others have been tried, which is at once.
          pause(Duration.ofMillis(3500));
          return List.of(good(asked));
        });
    assertAddress(ask(resolver(NameServers.of(servers, Duration.ofSeconds(3))), A));
  }

  private static void pause(Duration duration) {
    try {
      Thread.sleep(duration.toMillis());
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void withoutServersItFailsAtOnce() throws Exception {
    Outcome outcome = ask(resolver(LONG), A);
    assertNull(outcome.answer());
    assertEquals("no name server is known", outcome.failure());
    Outcome unresolved =
        ask(
            resolver(
                NameServers.of(
                    List.of(InetSocketAddress.createUnresolved("dns.example", 53)), LONG)),
            A);
    assertNull(unresolved.answer());
  }

  @Test
  void aFaultEndsTheQuestionAndTakesNoPlace() throws Exception {
    // Beyond what can be waited for, in nanoseconds.
    Resolver resolver = resolver(Duration.ofSeconds(Long.MAX_VALUE), first);
    for (int i = 0; i <= Resolver.MOST; i++) {
      Outcome outcome = ask(resolver, A);
      assertNull(outcome.answer());
      assertTrue(outcome.failure().startsWith("a fault at the host"), outcome.failure());
    }
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "descriptors are counted in /proc")
  void noSocketIsLeft() throws Exception {
    first.has(NAME, ADDRESS);
    first.answers(NAME, TXT, asked -> List.of(answer(asked, NOERROR, true)));
    second.silent(NAME, TXT);
    Resolver resolver = resolver(LONG, first, second);
    assertAddress(ask(resolver, A));
    long before = sockets();
    List<CompletableFuture<Outcome>> outcomes = new ArrayList<>();
    for (int i = 0; i < Resolver.MOST; i++) {
      assertAddress(ask(resolver, A));
      outcomes.add(send(resolver, TXT));
    }
    CompletableFuture<Boolean> full = new CompletableFuture<>();
    loop.execute(() -> full.complete(resolver.isFull()));
    assertTrue(full.get(50, TimeUnit.SECONDS));
    assertTrue(sockets() > before);
    // In the midst of all that.
    CompletableFuture<Boolean> closed = new CompletableFuture<>();
    loop.execute(
        () -> {
          resolver.close();
          closed.complete(resolver.isFull());
        });
    assertFalse(closed.get(50, TimeUnit.SECONDS));
    // A selector's sockets are closed when it has looked at them.
    boolean gone = false;
    for (int i = 0; i < 200 && !gone; i++) {
      gone = sockets() <= before + first.open() + second.open();
      Thread.sleep(gone ? 0 : 50);
    }
    assertTrue(gone, sockets() + " after " + before);
    assertTrue(outcomes.stream().noneMatch(CompletableFuture::isDone));
  }

  private static long sockets() throws IOException {
    return OpenFiles.targets().stream()
        .filter(file -> file.toString().startsWith("socket:"))
        .count();
  }
}
