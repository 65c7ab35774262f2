// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static dev.nacelle.net.DnsMessage.EDE_BLOCKED;
import static dev.nacelle.net.DnsMessage.EDE_NONE;
import static dev.nacelle.net.DnsMessage.EDE_OTHER;
import static dev.nacelle.net.DnsMessage.NOERROR;
import static dev.nacelle.net.DnsMessage.NXDOMAIN;
import static dev.nacelle.net.DnsMessage.REFUSED;
import static dev.nacelle.net.DnsMessage.SERVFAIL;
import static dev.nacelle.net.DnsType.A;
import static dev.nacelle.net.DnsType.AAAA;
import static dev.nacelle.net.DnsType.TXT;
import static dev.nacelle.net.TestNetwork.SERVER;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.net.DnsClient.Told;
import dev.nacelle.net.Frames.Refusal;
import dev.nacelle.net.PlayedNameServer.Entry;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkEvent.FlowEnded;
import dev.nacelle.network.NetworkEvent.Limit;
import dev.nacelle.network.NetworkEvent.LimitReached;
import dev.nacelle.network.NetworkEvent.NameDenied;
import dev.nacelle.network.NetworkEvent.NameFailed;
import dev.nacelle.network.NetworkEvent.NameResolved;
import dev.nacelle.network.NetworkLimits;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.NetworkStatistics;
import dev.nacelle.network.Rate;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** What a guest is told of names, by a policy, and what its name server is asked for it. */
@Timeout(60)
class DnsServiceTest {
  private static final int ANY = 255;
  private static final NetworkPolicy POLICY =
      NetworkPolicy.builder()
          .allow(Egress.tcp("a.example", 443))
          .allow(Egress.https("*.wild.example"))
          .deny(Egress.https("evil.wild.example"))
          .hostService("db", new InetSocketAddress("127.0.0.1", 5432))
          .limits(NetworkLimits.builder().dnsQueries(Rate.perSecond(1).withBurst(100_000)).build())
          .build();

  private final AtomicLong clock = new AtomicLong();
  private PlayedNameServer upstream;
  private TestNetwork test;
  private DnsClient client;

  @BeforeEach
  void begin() throws Exception {
    upstream = new PlayedNameServer();
    begin(POLICY, true);
  }

  private void begin(NetworkPolicy policy, boolean ipv6) throws Exception {
    if (test != null) {
      test.close();
    }
    NameServers servers = NameServers.of(List.of(upstream.address()), Duration.ofSeconds(10));
    test = new TestNetwork(policy, servers, ipv6, clock::get);
    client = new DnsClient(test.agent);
  }

  @AfterEach
  void end() throws Exception {
    test.close();
    upstream.close();
  }

  private NetworkStatistics statistics() {
    return test.network.statistics();
  }

  @Test
  void aNameThatIsAllowedIsToldAndMayThenBeConnectedTo() throws Exception {
    upstream.has("a.example", SERVER);
    try (ServerSocket server = test.server(443)) {
      assertEquals(Refusal.POLICY, test.agent.refusal(SERVER, 443));
      Told told = client.ask("a.example", A);
      assertEquals(List.of(SERVER), told.addresses());
      assertEquals(60, told.ttl());
      assertEquals(EDE_NONE, told.extended());
      NameResolved resolved = test.event(NameResolved.class);
      assertEquals("a.example", resolved.name());
      assertEquals(SERVER, resolved.addresses().get(0).getHostAddress());
      test.agent.connect(SERVER, 443);
      server.accept().close();
      assertEquals(Refusal.POLICY, test.agent.refusal(SERVER, 444));
    }
    NetworkStatistics statistics = statistics();
    assertEquals(1, statistics.dnsQueries());
    assertEquals(Map.of(), statistics.dnsDenied());
    assertEquals(0, statistics.sent());
  }

  @Test
  void whomeverItAsksItIsTheHostsResolverThatAnswers() throws Exception {
    upstream.has("a.example", SERVER);
    for (String resolver : new String[] {"8.8.8.8", "2001:4860:4860::8888", "127.0.0.1"}) {
      Place place = new Place(ip(resolver), 53, 4711);
      test.agent.datagram(place, DnsMessage.question(9, "A.eXample", A));
      byte[] reply = client.reply(place);
      assertEquals(List.of(SERVER), DnsClient.read(reply, 9, "a.example", A).addresses());
      // As it was asked for, for who mixes cases compares them.
      assertEquals('A', reply[13]);
      assertEquals('X', reply[16]);
    }
    assertEquals(0, statistics().openUdpSessions());
  }

  @Test
  void ofNamesThatAreDeniedNothingIsAskedAnywhere() throws Exception {
    String data = "0ykvbvtzkc3z1i5yqsy6gvpbzkcx4tjnmhywfq7rchebzxbvbc";
    for (int i = 0; i < 500; i++) {
      Told told = client.ask(data + i + "." + data + ".tunnel.example", i % 2 == 0 ? A : TXT);
      assertEquals(NXDOMAIN, told.rcode());
      assertEquals(EDE_BLOCKED, told.extended());
      assertEquals(NXDOMAIN, client.ask("x" + i + ".a.example", i % 2 == 0 ? AAAA : ANY).rcode());
    }
    for (String name :
        new String[] {
          "",
          "example",
          "b.example",
          "wild.example",
          "evil.wild.example",
          "localhost",
          "x.localhost",
          "host.internal",
          "other.host.internal",
          "1.2.3.4",
          "\\001\\255.wild.example",
          "wild.example.a"
        }) {
      assertEquals(NXDOMAIN, client.ask(name, A).rcode(), name);
    }
    assertEquals(List.of(), upstream.asked());
    NetworkStatistics statistics = statistics();
    assertEquals(1012, statistics.dnsQueries());
    assertEquals(
        Map.of(DenialReason.NO_RULE, 1011L, DenialReason.RULE, 1L), statistics.dnsDenied());
    NameDenied denied = test.event(NameDenied.class);
    assertEquals(data + "0." + data + ".tunnel.example", denied.name());
    assertEquals(DenialReason.NO_RULE, denied.reason());
    String line = test.agent.await(PlayedAgent.Denial.class, told -> true).line();
    assertTrue(line.contains("DNS of " + denied.name()), line);
  }

  @Test
  void namesUnderAWildcardAreAsked() throws Exception {
    upstream.has("x.y.wild.example", SERVER);
    assertEquals(List.of(SERVER), client.ask("x.y.wild.example", A).addresses());
    Told other = client.ask("data.wild.example", A);
    assertEquals(NXDOMAIN, other.rcode());
    assertEquals(EDE_NONE, other.extended());
    assertEquals(2, upstream.asked().size());
    assertEquals("x.y.wild.example", upstream.asked().get(0).name());
  }

  @Test
  void recordsOfOtherTypesTakeThePolicysWord() throws Exception {
    byte[] text = new DnsWriter().u8(5).ascii("hello").toByteArray();
    upstream.has("a.example", TXT, new Entry("a.example", TXT, 99, text));
    upstream.has("a.example", DnsType.HTTPS, new Entry("a.example", DnsType.HTTPS, 9, text));
    for (int type : new int[] {ANY, TXT, DnsType.NS, DnsType.CNAME, 252}) {
      Told told = client.ask("a.example", type);
      assertEquals(NOERROR, told.rcode());
      assertEquals(EDE_BLOCKED, told.extended());
      assertEquals(List.of(), told.data());
      assertEquals(DenialReason.RECORD_TYPE, test.event(NameDenied.class).reason());
    }
    Told https = client.ask("a.example", DnsType.HTTPS);
    assertEquals(NOERROR, https.rcode());
    assertEquals(EDE_NONE, https.extended());
    assertEquals(List.of(), https.data());
    assertEquals(List.of(), upstream.asked());
    test.update(POLICY.toBuilder().dnsRecords(DnsRecordType.TXT).build());
    Told told = client.ask("a.example", TXT);
    assertArrayEquals(text, told.data().get(0));
    assertEquals(99, told.ttl());
    assertEquals(NXDOMAIN, client.ask("b.example", TXT).rcode());
    assertEquals(1, upstream.asked().size());
  }

  @Test
  void aliasesAreFollowedAndNotTold() throws Exception {
    List<Entry> chain = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      chain.add(Entry.alias(i == 0 ? "a.example" : "x" + i + ".other", "x" + (i + 1) + ".other"));
    }
    chain.add(Entry.address("x8.other", SERVER, 60));
    upstream.has("a.example", A, chain.toArray(new Entry[0]));
    Told told = client.ask("a.example", A);
    assertEquals(List.of(SERVER), told.addresses());
    assertTrue(told.size() < 80, "one record");
    upstream.has(
        "loop.wild.example",
        A,
        Entry.alias("loop.wild.example", "b.example"),
        Entry.alias("b.example", "loop.wild.example"));
    Told loop = client.ask("loop.wild.example", A);
    assertEquals(SERVFAIL, loop.rcode());
    assertEquals(DnsMessage.EDE_NETWORK_ERROR, loop.extended());
    // Its names are not the sandbox's to connect to.
    assertEquals(NXDOMAIN, client.ask("x8.other", A).rcode());
  }

  @Test
  void addressesThatAreNotPublicAreLeftOut() throws Exception {
    upstream.has(
        "a.example",
        A,
        Entry.address("a.example", "10.0.0.1", 60),
        Entry.address("a.example", SERVER, 60),
        Entry.address("a.example", "127.0.0.1", 60));
    assertEquals(List.of(SERVER), client.ask("a.example", A).addresses());
    assertEquals(DenialReason.REBINDING, test.event(NameDenied.class).reason());
    assertEquals(List.of(SERVER), addresses(test.event(NameResolved.class)));
    for (String closed : new String[] {"127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"}) {
      assertDenied(closed, DenialReason.FLOOR);
    }
    for (String closed :
        new String[] {"10.0.0.1", "192.168.1.1", "64:ff9b::a00:1", "fd00::1", "2002:a00:1::"}) {
      assertDenied(closed, DenialReason.REBINDING);
    }
    // No error: it is as if there were none.
    upstream.has("a.example", AAAA, Entry.address("a.example", "::ffff:10.0.0.1", 60));
    assertEquals(List.of(), client.ask("a.example", AAAA).addresses());
  }

  private static List<String> addresses(NameResolved resolved) {
    return resolved.addresses().stream().map(address -> address.getHostAddress()).toList();
  }

  private void assertDenied(String address, DenialReason reason) throws Exception {
    Entry entry = Entry.address("a.example", address, 60);
    upstream.has("a.example", entry.type(), entry);
    Told told = client.ask("a.example", entry.type());
    assertEquals(NOERROR, told.rcode(), address);
    assertEquals(EDE_BLOCKED, told.extended(), address);
    assertEquals(List.of(), told.addresses(), address);
    assertEquals(reason, test.event(NameDenied.class).reason(), address);
    test.agent.refusal(address, 443);
  }

  @Test
  void aRuleMaySayThatANamesAddressesMayBePrivate() throws Exception {
    begin(NetworkPolicy.builder().allow(Egress.tcp("a.example", 443).mayBePrivate()).build(), true);
    upstream.has("a.example", "10.0.0.1");
    assertEquals(List.of("10.0.0.1"), client.ask("a.example", A).addresses());
    upstream.has("a.example", "127.0.0.1");
    assertEquals(List.of(), client.ask("a.example", A).addresses());
  }

  @Test
  void whatIsToldLivesAsLongAsItsPin() throws Exception {
    try (ServerSocket server = test.server(443)) {
      for (long[] ttls : new long[][] {{5, 5, 60}, {700, 700, 700}, {604_800, 3600, 3600}}) {
        upstream.has("a.example", A, Entry.address("a.example", SERVER, ttls[0]));
        assertEquals(ttls[1], client.ask("a.example", A).ttl());
        clock.addAndGet((ttls[2] + 300) * 1_000_000_000L - 1);
        int flow = test.agent.connect(SERVER, 443);
        server.accept().close();
        clock.addAndGet(1);
        test.agent.await(PlayedAgent.Fin.class, fin -> fin.flow() == flow);
        test.agent.fin(flow);
        test.event(FlowEnded.class);
        assertEquals(Refusal.POLICY, test.agent.refusal(SERVER, 443));
      }
    }
  }

  @Test
  void withoutIpv6NoAddressOfItIsTold() throws Exception {
    begin(POLICY, false);
    upstream.has("a.example", "2606:2800:220:1::1").has("a.example", SERVER);
    Told told = client.ask("a.example", AAAA);
    assertEquals(NOERROR, told.rcode());
    assertEquals(List.of(), told.addresses());
    assertEquals(EDE_NONE, told.extended());
    assertEquals(List.of(), upstream.asked());
    assertEquals(List.of(SERVER), client.ask("a.example", A).addresses());
    begin(POLICY, true);
    assertEquals(List.of("2606:2800:220:1::1"), client.ask("a.example", AAAA).addresses());
  }

  @Test
  void servicesOfTheHostsHaveNames() throws Exception {
    Told told = client.ask("db.host.internal", A);
    assertEquals(1, told.addresses().size());
    assertTrue(told.addresses().get(0).startsWith("198.18.1."), told.toString());
    assertEquals(List.of(), client.ask("db.host.internal", AAAA).addresses());
    assertEquals(told.addresses(), addresses(test.event(NameResolved.class)));
    assertEquals(List.of(), upstream.asked());
  }

  @Test
  void aPolicyThatChangesMeanwhileCounts() throws Exception {
    CountDownLatch changed = new CountDownLatch(1);
    CountDownLatch asked = new CountDownLatch(1);
    upstream.answers(
        "a.example",
        A,
        question -> {
          asked.countDown();
          await(changed);
          return List.of(
              PlayedNameServer.answer(
                  question, NOERROR, false, Entry.address("a.example", SERVER, 60)));
        });
    int id = client.send("a.example", A);
    asked.await();
    test.update(NetworkPolicy.none());
    changed.countDown();
    assertEquals(NXDOMAIN, client.told(id, "a.example", A).rcode());
    assertEquals(NXDOMAIN, client.ask("a.example", A).rcode());
    test.update(POLICY);
    assertEquals(List.of(SERVER), client.ask("a.example", A).addresses());
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void whoAsksTooMuchIsRefused() throws Exception {
    begin(
        POLICY.toBuilder()
            .limits(NetworkLimits.builder().dnsQueries(Rate.perSecond(1).withBurst(3)).build())
            .build(),
        true);
    Told refused = null;
    for (int i = 0; i < 50; i++) {
      Told told = client.ask("denied.example", A);
      // Any may find that a second has passed.
      refused = told.rcode() == REFUSED ? told : refused;
    }
    assertNotNull(refused);
    assertEquals(EDE_OTHER, refused.extended());
    LimitReached reached = test.event(LimitReached.class);
    assertEquals(Limit.DNS_QUERIES, reached.limit());
    assertTrue(statistics().dnsDenied().get(DenialReason.LIMIT) >= 20);
    assertEquals(50, statistics().dnsQueries());
    test.update(POLICY);
    assertEquals(NXDOMAIN, client.ask("denied.example", A).rcode());
  }

  @Test
  void soManyAreAskedAtATimeAndNoMore() throws Exception {
    upstream.silent("a.example", A);
    IntStream.range(0, Resolver.MOST).forEach(i -> client.send("a.example", A));
    assertEquals(REFUSED, client.ask("a.example", A).rcode());
    // What nobody is asked for is answered all the same.
    assertEquals(NXDOMAIN, client.ask("denied.example", A).rcode());
    assertEquals(Limit.DNS_QUERIES, test.event(LimitReached.class).limit());
  }

  @Test
  void anAnswerThatDoesNotFitIsCut() throws Exception {
    Entry[] many =
        IntStream.range(0, 60)
            .mapToObj(i -> Entry.address("a.example", "93.184.216." + i, 60))
            .toArray(Entry[]::new);
    upstream.has("a.example", A, many);
    Place place = new Place(ip("8.8.8.8"), 53, 4711);
    test.agent.datagram(place, DnsMessage.question(9, "a.example", A, false));
    byte[] cut = client.reply(place);
    assertTrue(cut.length <= 512, "of " + cut.length + " bytes");
    assertTrue(DnsClient.read(cut, 9, "a.example", A).cut());
    Told told = client.ask("a.example", A);
    assertFalse(told.cut());
    assertEquals(60, told.addresses().size());
  }

  @Test
  void whatIsNoQuestionIsAnsweredAsSuchOrNotAtAll() throws Exception {
    Place place = new Place(ip("8.8.8.8"), 53, 4711);
    byte[] question = DnsMessage.question(9, "a.example", A);
    byte[] answer = question.clone();
    answer[2] |= (byte) 0x80;
    test.agent.datagram(place, answer);
    test.agent.datagram(place, new byte[0]);
    test.agent.datagram(place, new byte[11]);
    byte[] update = question.clone();
    update[2] = 5 << 3;
    test.agent.datagram(place, update);
    assertEquals(DnsMessage.NOTIMP, client.reply(place)[3] & 0xf);
    test.agent.datagram(place, new byte[Frames.MAX_DATAGRAM]);
    assertEquals(DnsMessage.FORMERR, client.reply(place)[3] & 0xf);
    byte[] chaos = question.clone();
    chaos[ByteBuffer.wrap(chaos).limit() - 12] = 3;
    test.agent.datagram(place, chaos);
    assertEquals(REFUSED, client.reply(place)[3] & 0xf);
    assertEquals(List.of(), upstream.asked());
    assertEquals(3, statistics().datagramsDropped());
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "its limit of descriptors is changed by prlimit")
  void aHostWithoutDescriptorsSaysSo() throws Exception {
    upstream.has("a.example", SERVER).answers("x.wild.example", A, DnsServiceTest::refuses);
    // All that is needed has been there once: to load a class takes a descriptor, too.
    assertEquals(SERVFAIL, client.ask("x.wild.example", A).rcode());
    assertEquals("x.wild.example", test.event(NameFailed.class).name());
    assertEquals(List.of(SERVER), client.ask("a.example", A).addresses());
    Told told = WithoutDescriptors.call(() -> client.ask("a.example", A));
    assertEquals(SERVFAIL, told.rcode());
    assertEquals(Limit.HOST_DESCRIPTORS, test.event(LimitReached.class).limit());
    assertEquals(List.of(SERVER), client.ask("a.example", A).addresses());
  }

  private static List<byte[]> refuses(PlayedNameServer.Asked asked) {
    return List.of(PlayedNameServer.answer(asked, REFUSED, false));
  }
}
