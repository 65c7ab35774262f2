// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.net;

import static dev.nacelle.net.AddressClassTest.ip;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.nacelle.internal.check.Ip;
import dev.nacelle.net.CompiledPolicy.Question;
import dev.nacelle.net.CompiledPolicy.Resolution;
import dev.nacelle.net.Decision.Check;
import dev.nacelle.network.DenialReason;
import dev.nacelle.network.DnsRecordType;
import dev.nacelle.network.Egress;
import dev.nacelle.network.NetworkPolicy;
import dev.nacelle.network.Transport;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class CompiledPolicyTest {
  private static final String PUBLIC = "93.184.215.14";
  private static final Predicate<Ip> HOSTS = ip("203.0.113.9")::equals;

  private static NetworkPolicy.Builder policy() {
    return NetworkPolicy.builder();
  }

  private static NetworkPolicy allow(Egress... rules) {
    NetworkPolicy.Builder builder = policy();
    Stream.of(rules).forEach(builder::allow);
    return builder.build();
  }

  /**
   * @param pinned such as {@code a.example=192.0.2.1}
   * @param flow such as {@code TCP 192.0.2.1 443}
   */
  private static Decision decide(NetworkPolicy policy, String pinned, String flow) {
    Pins pins = new Pins(() -> 0, 64);
    for (String pin : pinned.isEmpty() ? new String[0] : pinned.split(" ")) {
      String[] parts = pin.split("=");
      assertTrue(pins.pin(parts[0], ip(parts[1]), 60));
    }
    String[] parts = flow.split(" ");
    return CompiledPolicy.of(policy)
        .decide(Transport.valueOf(parts[0]), ip(parts[1]), Integer.parseInt(parts[2]), HOSTS, pins);
  }

  /** A reason, or the rule and what is looked at. */
  private static String told(Decision decision) {
    if (decision.reason() != null) {
      return decision.rule().isEmpty()
          ? decision.reason().name()
          : decision.reason() + " by " + decision.rule();
    }
    return decision.rule()
        + (decision.checks(Check.TLS) ? ", TLS" : "")
        + (decision.checks(Check.HTTP) ? ", HTTP" : "");
  }

  private static Arguments row(
      String sentence, NetworkPolicy policy, String pinned, String flow, String expected) {
    return arguments(sentence, policy, pinned, flow, expected);
  }

  static Stream<Arguments> decisions() {
    NetworkPolicy internet = NetworkPolicy.internet();
    NetworkPolicy https = allow(Egress.https("a.example", "*.b.example").named("https"));
    Egress net10 = Egress.addresses("10.20.0.0/16").tcp(5432).named("ten");
    Egress metadata = Egress.addresses("169.254.169.254").tcp(80).named("credentials");
    String a = "a.example=" + PUBLIC;
    String to443 = "TCP " + PUBLIC + " 443";
    return Stream.of(
        row("nothing is allowed without a rule", NetworkPolicy.internal(), a, to443, "NO_RULE"),
        row("nor without a network", NetworkPolicy.none(), a, to443, "NO_RULE"),
        // 1 forbidden, metadata, host
        row("multicast is forbidden", internet, "", "UDP 224.0.0.251 5353", "FLOOR"),
        row("broadcast is", internet, "", "UDP 255.255.255.255 67", "FLOOR"),
        row("the unspecified address is", internet, "", "TCP 0.0.0.0 80", "FLOOR"),
        row(
            "also by a rule that names it",
            allow(Egress.addresses("240.0.0.0/4")),
            "",
            "TCP 240.0.0.1 80",
            "FLOOR"),
        row("metadata is closed", allow(metadata), "", "TCP 169.254.169.254 80", "FLOOR"),
        row("in every notation", internet, "", "TCP 64:ff9b::a9fe:a9fe 80", "FLOOR"),
        row("mapped, too", internet, "", "TCP ::ffff:169.254.169.254 80", "FLOOR"),
        row(
            "with its permission and a rule it is open",
            policy().allowMetadata(true).allow(metadata).build(),
            "",
            "TCP 169.254.169.254 80",
            "credentials"),
        row(
            "the permission alone allows nothing",
            policy().allowMetadata(true).build(),
            "",
            "TCP 169.254.169.254 80",
            "NO_RULE"),
        row(
            "nor does the internet, which is public",
            policy().allowMetadata(true).allow(Egress.internet()).build(),
            "",
            "TCP 168.63.129.16 80",
            "NO_RULE"),
        row(
            "loopback is the host's",
            allow(Egress.addresses("127.0.0.0/8")),
            "",
            "TCP 127.0.0.1 80",
            "FLOOR"),
        row("so are its interfaces", internet, "", "TCP 203.0.113.9 22", "FLOOR"),
        row(
            "also for a name that may be private",
            allow(Egress.tcp("a.example", 22).mayBePrivate()),
            "a.example=203.0.113.9",
            "TCP 203.0.113.9 22",
            "FLOOR"),
        // 2 deny wins
        row(
            "deny wins over addresses",
            policy().deny(Egress.addresses("10.20.7.0/24").named("no")).allow(net10).build(),
            "",
            "TCP 10.20.7.1 5432",
            "RULE by no"),
        row(
            "whatever the order",
            policy().allow(net10).deny(Egress.addresses("10.20.7.0/24").named("no")).build(),
            "",
            "TCP 10.20.7.1 5432",
            "RULE by no"),
        row(
            "beside it nothing is denied",
            policy().allow(net10).deny(Egress.addresses("10.20.7.0/24")).build(),
            "",
            "TCP 10.20.8.1 5432",
            "ten"),
        row(
            "deny wins over the internet",
            policy().allow(Egress.internet()).deny(Egress.addresses(PUBLIC).named("no")).build(),
            "",
            to443,
            "RULE by no"),
        row(
            "over names",
            policy()
                .allow(Egress.https("a.example"))
                .deny(Egress.addresses(PUBLIC).named("no"))
                .build(),
            a,
            to443,
            "RULE by no"),
        row(
            "in other notations",
            policy().allow(Egress.internet()).deny(Egress.addresses(PUBLIC).named("no")).build(),
            "",
            "TCP 64:ff9b::5db8:d70e 443",
            "RULE by no"),
        row(
            "with ports only on them",
            policy().allow(Egress.internet()).deny(Egress.addresses("0.0.0.0/0").tcp(25)).build(),
            "",
            to443,
            "internet"),
        row(
            "on those it does",
            policy()
                .allow(Egress.internet())
                .deny(Egress.addresses("0.0.0.0/0").tcp(25).named("mail"))
                .build(),
            "",
            "TCP " + PUBLIC + " 25",
            "RULE by mail"),
        row(
            "a name that is denied is, though pinned",
            policy()
                .allow(Egress.https("*.b.example"))
                .deny(Egress.web("x.b.example").named("no"))
                .build(),
            "x.b.example=" + PUBLIC,
            to443,
            "RULE by no"),
        row(
            "its neighbour is not",
            policy()
                .allow(Egress.https("*.b.example").named("yes"))
                .deny(Egress.web("x.b.example"))
                .build(),
            "x.b.example=" + PUBLIC + " y.b.example=" + PUBLIC,
            to443,
            "yes, TLS"),
        // 3 by address
        row("a block allows its ports", allow(net10), "", "TCP 10.20.0.1 5432", "ten"),
        row("and no others", allow(net10), "", "TCP 10.20.0.1 5433", "NO_RULE"),
        row("and its transport", allow(net10), "", "UDP 10.20.0.1 5432", "NO_RULE"),
        row("nor ping", allow(net10), "", "ECHO 10.20.0.1 0", "NO_RULE"),
        row(
            "without ports all, and ping",
            allow(Egress.addresses("10.20.0.0/16")),
            "",
            "ECHO 10.20.0.1 0",
            "10.20.0.0/16"),
        row(
            "private ranges are closed to the internet",
            internet,
            "",
            "TCP 10.0.0.1 80",
            "NO_RULE"),
        row(
            "and to blocks that happen to hold them",
            allow(Egress.addresses("0.0.0.0/0")),
            "",
            "TCP 10.0.0.1 80",
            "NO_RULE"),
        row(
            "public addresses are not",
            allow(Egress.addresses("0.0.0.0/0")),
            "",
            to443,
            "0.0.0.0/0"),
        row(
            "a private address inside of one of NAT64 is not meant",
            allow(Egress.addresses("10.0.0.0/8")),
            "",
            "TCP 64:ff9b::a00:1 80",
            "NO_RULE"),
        row("the internet is every port", internet, "", "UDP " + PUBLIC + " 443", "internet"),
        row("and ping", internet, "", "ECHO 2606:4700::1 0", "internet"),
        row(
            "by address wins over the look inside",
            allow(Egress.https("a.example"), Egress.internet().named("all")),
            a,
            to443,
            "all"),
        // 4 names
        row("by name when it was told", https, a, to443, "https, TLS"),
        row("not when it was not", https, "", to443, "NOT_RESOLVED"),
        row(
            "nor for another address of the name",
            https,
            "a.example=8.8.8.8",
            to443,
            "NOT_RESOLVED"),
        row("nor on another port", https, a, "TCP " + PUBLIC + " 80", "NO_RULE"),
        row("nor by QUIC", https, a, "UDP " + PUBLIC + " 443", "NO_RULE"),
        row("nor for a name of no rule", https, "c.example=" + PUBLIC, to443, "NO_RULE"),
        row("below a wildcard", https, "x.b.example=" + PUBLIC, to443, "https, TLS"),
        row("however deep", https, "x.y.z.b.example=" + PUBLIC, to443, "https, TLS"),
        row("not at its apex", https, "b.example=" + PUBLIC, to443, "NO_RULE"),
        row("nor beside it", https, "xb.example=" + PUBLIC, to443, "NO_RULE"),
        row("an exact name is not what is below", https, "x.a.example=" + PUBLIC, to443, "NO_RULE"),
        row(
            "a name that leads into the host's network does not",
            https,
            "a.example=10.0.0.1",
            "TCP 10.0.0.1 443",
            "REBINDING by https"),
        row(
            "nor to an address inside of another",
            https,
            "a.example=64:ff9b::a00:1",
            "TCP 64:ff9b::a00:1 443",
            "REBINDING by https"),
        row(
            "unless it may be private",
            allow(Egress.https("a.example").mayBePrivate().named("in")),
            "a.example=10.0.0.1",
            "TCP 10.0.0.1 443",
            "in, TLS"),
        row(
            "or a block means the address",
            allow(Egress.https("a.example"), Egress.addresses("10.0.0.0/8").named("ten")),
            "a.example=10.0.0.1",
            "TCP 10.0.0.1 443",
            "ten"),
        row(
            "metadata by name needs both permissions",
            policy().allowMetadata(true).allow(Egress.http("m.example").named("m")).build(),
            "m.example=169.254.169.254",
            "TCP 169.254.169.254 80",
            "REBINDING by m"),
        row(
            "and with both it is open",
            policy()
                .allowMetadata(true)
                .allow(Egress.http("m.example").mayBePrivate().named("m"))
                .build(),
            "m.example=169.254.169.254",
            "TCP 169.254.169.254 80",
            "m, HTTP"),
        // 5 the rule's check
        row(
            "http looks at the Host",
            allow(Egress.http("a.example").named("h")),
            a,
            "TCP " + PUBLIC + " 80",
            "h, HTTP"),
        row("web at both: 443", allow(Egress.web("a.example").named("w")), a, to443, "w, TLS"),
        row(
            "web at both: 80",
            allow(Egress.web("a.example").named("w")),
            a,
            "TCP " + PUBLIC + " 80",
            "w, HTTP"),
        row(
            "on another port, too",
            allow(Egress.https("a.example").onPort(8443).named("o")),
            a,
            "TCP " + PUBLIC + " 8443",
            "o, TLS"),
        row(
            "tcp at nothing",
            allow(Egress.tcp("a.example", 22).named("ssh")),
            a,
            "TCP " + PUBLIC + " 22",
            "ssh"),
        row(
            "udp at nothing",
            allow(Egress.udp("a.example", 123).named("ntp")),
            a,
            "UDP " + PUBLIC + " 123",
            "ntp"),
        row(
            "the weaker of two counts",
            allow(
                Egress.https("a.example").named("strong"),
                Egress.tcp("a.example", 443).named("weak")),
            a,
            to443,
            "weak"));
  }

  @MethodSource("decisions")
  @ParameterizedTest(name = "{0}: {3} is {4}")
  void decisions(
      String sentence, NetworkPolicy policy, String pinned, String flow, String expected) {
    assertEquals(expected, told(decide(policy, pinned, flow)), sentence);
  }

  @Test
  void theSniIsANameOfTheRuleThatTheAddressWasToldFor() {
    Decision decision =
        decide(
            allow(Egress.https("a.example", "b.example", "*.c.example")),
            "a.example=" + PUBLIC + " x.c.example=" + PUBLIC + " other.example=" + PUBLIC,
            "TCP " + PUBLIC + " 443");
    assertNull(decision.judge(Check.TLS, "a.example", false));
    assertNull(decision.judge(Check.TLS, "x.c.example", false));
    for (String said : new String[] {"b.example", "y.c.example", "other.example", "evil", null}) {
      assertEquals(DenialReason.SNI_MISMATCH, decision.judge(Check.TLS, said, false), said);
    }
    assertEquals(DenialReason.HOST_MISMATCH, decision.judge(Check.HTTP, "a.example", false));
    assertEquals(List.of("a.example", "x.c.example", "other.example"), decision.names());
    assertEquals(2, decision.candidates().size());
    assertFalse(decision.isUnchecked());
  }

  @Test
  void aNameThatMayBeAnotherNeedsARuleThatSaysSo() {
    String pinned = "a.example=" + PUBLIC;
    String flow = "TCP " + PUBLIC + " 443";
    Decision strict = decide(allow(Egress.https("a.example")), pinned, flow);
    assertEquals(DenialReason.HIDDEN_NAME, strict.judge(Check.TLS, "a.example", true));
    assertEquals(DenialReason.SNI_MISMATCH, strict.judge(Check.TLS, "b.example", true));
    Decision open = decide(allow(Egress.https("a.example").mayHideName()), pinned, flow);
    assertNull(open.judge(Check.TLS, "a.example", true));
    assertEquals(DenialReason.SNI_MISMATCH, open.judge(Check.TLS, "b.example", true));
  }

  private static CompiledPolicy services(Egress denied) {
    return CompiledPolicy.of(
        policy()
            .hostService("db", new InetSocketAddress("127.0.0.1", 5432))
            .hostService("cache", new InetSocketAddress("10.0.0.7", 6379))
            .allow(Egress.https("a.example"))
            .deny(denied)
            .build());
  }

  private static Decision decide(CompiledPolicy policy, Transport transport, Ip to, int port) {
    return policy.decide(transport, to, port, HOSTS, new Pins(() -> 0, 1));
  }

  @Test
  void aServiceOfTheHostsIsReachedByItsNameOnItsPort() {
    CompiledPolicy policy = services(Egress.addresses("10.9.0.0/16"));
    Resolution db = policy.resolve("db.host.internal", DnsType.A);
    Resolution cache = policy.resolve("cache.host.internal", DnsType.A);
    assertEquals(Question.SERVICE, db.question());
    assertEquals(ip("198.18.1.1"), db.service());
    assertEquals(ip("198.18.1.2"), cache.service());
    Decision decision = decide(policy, Transport.TCP, db.service(), 5432);
    assertTrue(decision.isAllowed());
    assertTrue(decision.isUnchecked());
    assertEquals(new InetSocketAddress("127.0.0.1", 5432), decision.service());
    assertEquals("db.host.internal", decision.rule());
    assertEquals(
        new InetSocketAddress("10.0.0.7", 6379),
        decide(policy, Transport.TCP, cache.service(), 6379).service());
    for (Decision other :
        List.of(
            decide(policy, Transport.TCP, db.service(), 5433),
            decide(policy, Transport.UDP, db.service(), 5432),
            decide(policy, Transport.ECHO, db.service(), 0),
            decide(policy, Transport.TCP, ip("10.0.0.7"), 6379),
            decide(policy, Transport.TCP, ip("198.18.1.3"), 5432))) {
      assertEquals(DenialReason.NO_RULE, other.reason());
    }
    assertEquals(DenialReason.FLOOR, decide(policy, Transport.TCP, ip("127.0.0.1"), 5432).reason());
  }

  @Test
  void denyWinsOverServicesToo() {
    CompiledPolicy policy = services(Egress.addresses("10.0.0.0/8"));
    Ip cache = policy.resolve("cache.host.internal", DnsType.A).service();
    assertEquals(DenialReason.RULE, decide(policy, Transport.TCP, cache, 6379).reason());
  }

  @ParameterizedTest
  @CsvSource({
    "a.example, 1, ASK,",
    "a.example, 28, ASK,",
    "x.b.example, 1, ASK,",
    "b.example, 1, DENIED, NO_RULE",
    "x.a.example, 1, DENIED, NO_RULE",
    "other.example, 1, DENIED, NO_RULE",
    "no.b.example, 1, DENIED, RULE",
    "half.b.example, 1, ASK,",
    "a.example, 65, EMPTY,",
    "a.example, 64, EMPTY,",
    "a.example, 16, ASK,",
    "a.example, 15, EMPTY, RECORD_TYPE",
    "a.example, 255, EMPTY, RECORD_TYPE",
    "other.example, 16, DENIED, NO_RULE",
    "db.host.internal, 28, EMPTY,",
    "no.host.internal, 1, DENIED, NO_RULE",
    "localhost, 1, DENIED, NO_RULE",
    ", 1, DENIED, NO_RULE"
  })
  void questions(String name, int type, Question expected, DenialReason reason) {
    NetworkPolicy policy =
        policy()
            .allow(Egress.web("a.example", "*.b.example"))
            .deny(Egress.web("no.b.example"))
            .deny(Egress.http("half.b.example"))
            .hostService("db", new InetSocketAddress("127.0.0.1", 1))
            .dnsRecords(DnsRecordType.TXT)
            .build();
    Resolution resolution = CompiledPolicy.of(policy).resolve(name, type);
    assertEquals(expected, resolution.question());
    assertEquals(reason, resolution.reason());
  }

  @Test
  void wildcardsOfEveryLengthAreFound() {
    String deep = "a.".repeat(120) + "deep.example";
    CompiledPolicy policy =
        CompiledPolicy.of(allow(Egress.https("*.b.example", "*." + deep, "*.longer.c.example")));
    for (String name : List.of("x.b.example", "x." + deep, "y.x." + deep, "x.longer.c.example")) {
      assertEquals(Question.ASK, policy.resolve(name, DnsType.A).question(), name);
    }
    for (String name : List.of("b.example", deep, "longer.c.example", "xb.example", "example")) {
      assertEquals(Question.DENIED, policy.resolve(name, DnsType.A).question(), name);
    }
  }

  @Test
  void withTheInternetAllNamesAreAskedForButThoseThatAreDenied() {
    CompiledPolicy policy =
        CompiledPolicy.of(
            policy().allow(Egress.internet()).deny(Egress.web("*.ads.example")).build());
    assertEquals(Question.ASK, policy.resolve("any.example", DnsType.A).question());
    assertEquals(DenialReason.RULE, policy.resolve("x.ads.example", DnsType.A).reason());
    assertEquals(Question.DENIED, policy.resolve("x.localhost", DnsType.A).question());
    assertEquals(Question.DENIED, policy.resolve("db.host.internal", DnsType.A).question());
    CompiledPolicy both =
        CompiledPolicy.of(
            policy()
                .allow(Egress.internet())
                .allow(Egress.tcp("x.ads.example", 22))
                .deny(Egress.web("*.ads.example"))
                .build());
    assertEquals(Question.ASK, both.resolve("x.ads.example", DnsType.A).question());
  }

  @Test
  void addressesThatCouldNotBeConnectedToAreNotTold() {
    List<Ip> all =
        Stream.of(
                "10.0.0.1",
                PUBLIC,
                "127.0.0.1",
                "169.254.169.254",
                "::ffff:10.0.0.1",
                "64:ff9b::a00:1",
                "203.0.113.9",
                PUBLIC)
            .map(AddressClassTest::ip)
            .toList();
    Egress name = Egress.https("a.example");
    CompiledPolicy.Admitted strict = CompiledPolicy.of(allow(name)).admit("a.example", all, HOSTS);
    assertEquals(List.of(ip(PUBLIC)), strict.addresses());
    assertEquals(DenialReason.REBINDING, strict.reason());
    assertEquals(
        List.of(ip("10.0.0.1"), ip(PUBLIC), ip("64:ff9b::a00:1")),
        CompiledPolicy.of(allow(Egress.https("a.example").mayBePrivate()))
            .admit("a.example", all, HOSTS)
            .addresses());
    assertEquals(
        List.of(ip("10.0.0.1"), ip(PUBLIC)),
        CompiledPolicy.of(allow(name, Egress.addresses("10.0.0.0/8")))
            .admit("a.example", all, HOSTS)
            .addresses());
    CompiledPolicy.Admitted none =
        CompiledPolicy.of(NetworkPolicy.internet())
            .admit("a.example", List.of(ip("127.0.0.1")), HOSTS);
    assertEquals(List.of(), none.addresses());
    assertEquals(DenialReason.FLOOR, none.reason());
    assertNull(CompiledPolicy.of(allow(name)).admit("a.example", List.of(), HOSTS).reason());
  }
}
